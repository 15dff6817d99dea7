//! The log's way to the disk. Tests and fault injection put another one in its place.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Where log files are made.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a directory and those above it, readable by owner and group; one that is there is left as
    /// it is.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file its final name, for good.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where the name is taken.
    fn publish(&self, temporary: &Path, path: &Path) -> io::Result<()>;

    /// Gives a file its name, in place of another that has it.
    ///
    /// # Errors
    /// The system's.
    fn replace(&self, temporary: &Path, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A log file being written.
pub trait DiskFile: Send + fmt::Debug {
    /// Appends.
    ///
    /// # Errors
    /// The system's; some of the bytes may be in the file then.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until what was written survives a power cut.
    ///
    /// # Errors
    /// The system's.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
}

/// The file system. Directories 0750, files 0640.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o750).create(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
        Ok(Box::new(RealFile { file }))
    }

    fn publish(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        // One engine a directory and an epoch in the name: nobody takes the name in between.
        if path.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.replace(temporary, path)
    }

    fn replace(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        fs::rename(temporary, path)?;
        // The name is data of the directory.
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}
