//! Tests of the whole room.

mod cluster;
mod disk;
mod join;
mod machine;
mod measure;
mod storage;
