//! A disk that separates what was written from what is durable.

use std::io;

use rocksdb::WriteBatch;

use crate::log::DiskRow;

pub(crate) struct Disk;

impl Disk {
    pub(crate) fn get(&self, _key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        todo!()
    }
    pub(crate) fn range(&self, _start: &[u8], _end: &[u8]) -> Vec<DiskRow> {
        todo!()
    }
    pub(crate) async fn write(&self, _batch: WriteBatch, _sync: bool) -> io::Result<()> {
        todo!()
    }
    pub(crate) fn put_first(&self, _key: &[u8], _value: &[u8]) -> io::Result<()> {
        todo!()
    }
    pub(crate) async fn replace_file(&self, _name: &str, _payload: &[u8]) -> io::Result<()> {
        todo!()
    }
    pub(crate) fn read_file(&self, _name: &str) -> Option<Vec<u8>> {
        todo!()
    }
}
