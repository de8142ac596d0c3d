//! One file of an export, written row by row.

use std::fmt::Arguments;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::ShopError;

/// Whether files are written anew or go on where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Anew,
    Append,
}

/// A file that is being written.
pub(super) struct Sheet {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Sheet {
    /// Opens `name` in `dir`; an empty file begins with `header`, if there is one.
    pub(super) fn open(dir: &Path, name: &str, header: &[&str], mode: Mode) -> Result<Self, ShopError> {
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        match mode {
            Mode::Anew => options.write(true).create(true).truncate(true),
            Mode::Append => options.append(true).create(true),
        };
        let opened = options.open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (n_bytes, file) = opened.map_err(|source| ShopError::Write { path: path.clone(), source })?;
        let mut sheet = Sheet { path, file: BufWriter::with_capacity(1 << 16, file) };
        if n_bytes == 0 && !header.is_empty() {
            sheet.row(header)?;
        }
        Ok(sheet)
    }

    /// One row of CSV, quoted where it must be.
    pub(super) fn row(&mut self, cells: &[&str]) -> Result<(), ShopError> {
        for (n, cell) in cells.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if cell.contains(['"', ',', '\n', '\r']) {
                self.write(format_args!("{comma}\"{}\"", cell.replace('"', "\"\"")))?;
            } else {
                self.write(format_args!("{comma}{cell}"))?;
            }
        }
        self.write(format_args!("\n"))
    }

    pub(super) fn write(&mut self, text: Arguments<'_>) -> Result<(), ShopError> {
        self.file.write_fmt(text).map_err(|source| ShopError::Write { path: self.path.clone(), source })
    }

    pub(super) fn close(mut self) -> Result<(), ShopError> {
        self.file.flush().map_err(|source| ShopError::Write { path: self.path, source })
    }
}
