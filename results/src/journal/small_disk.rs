//! A disk for the tests: small, quick, and failing on demand.

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::reader::scan_index;
use super::scan::Scanner;
use super::writer::Storage;
use super::{Index, Journal, LONGEST_LINE, Records, Recovery};
use crate::error::Result;
use crate::schema::Record;

/// A disk that takes so many bytes and no more.
#[derive(Clone)]
pub(super) struct SmallDisk {
    pub(super) content: Arc<Mutex<Vec<u8>>>,
    pub(super) space: Arc<Mutex<usize>>,
    pub(super) truncate_fails: Arc<Mutex<bool>>,
    pub(super) sync_fails: Arc<Mutex<bool>>,
}

impl SmallDisk {
    /// A disk with ample space and one file.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        Self {
            content: Arc::new(Mutex::new(bytes.to_vec())),
            space: Arc::new(Mutex::new(1 << 20)),
            truncate_fails: Arc::default(),
            sync_fails: Arc::default(),
        }
    }

    fn scanner(&self) -> Result<Scanner<Box<dyn Read + Send>>> {
        let content = self.content.lock().unwrap().clone();
        Scanner::new(Box::new(Cursor::new(content)), Path::new("journal"), LONGEST_LINE)
    }

    /// What [`super::read_records`] makes of it.
    pub(super) fn read(&self) -> (Vec<Record>, Recovery) {
        let mut records = Records::over(self.scanner().unwrap(), Path::new("journal"));
        let read = records.by_ref().collect::<Result<Vec<_>>>().unwrap();
        (read, records.recovery().clone())
    }

    /// What [`super::read_index`] makes of it.
    pub(super) fn index(&self) -> Result<Index> {
        scan_index(&mut self.scanner()?).map(|(index, _)| index)
    }

    /// What [`Journal::open`] makes of it.
    pub(super) fn open(&self) -> Result<(Journal, Index)> {
        let (index, tail) = scan_index(&mut self.scanner()?)?;
        let length = self.content.lock().unwrap().len() as u64;
        Ok((Journal::resume(Box::new(self.clone()), Path::new("journal"), length, tail)?, index))
    }
}

impl Storage for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let fits = bytes.len().min(self.space.lock().unwrap().saturating_sub(content.len()));
        content.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if *self.sync_fails.lock().unwrap() { Err(io::Error::other("lost the disk")) } else { Ok(()) }
    }

    fn is_removed(&self) -> bool {
        false
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if *self.truncate_fails.lock().unwrap() {
            return Err(io::Error::other("no"));
        }
        self.content.lock().unwrap().truncate(length as usize);
        Ok(())
    }
}
