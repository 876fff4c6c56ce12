//! Tests of the whole room.

mod cluster;
mod join;
mod machine;
mod measure;
mod storage;
