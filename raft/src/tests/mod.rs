//! Tests of the whole room.

mod backup;
mod cluster;
mod disk;
mod join;
mod machine;
mod measure;
mod recover;
mod storage;
