//! Tests of the whole room.

mod backup;
pub(crate) mod cluster;
mod disk;
mod elections;
mod feature;
mod frozen;
pub(crate) mod gate;
mod join;
mod machine;
mod measure;
mod member;
mod pre_vote;
mod proxy;
mod recover;
mod storage;
mod storage_chain;
mod storage_cuts;
mod storage_faults;
mod storage_model;
mod storage_order;
mod storage_snapshots;
mod storage_watermark;
