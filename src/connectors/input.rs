//! A file as a stream of bytes: plain or gzip (told by its first bytes, not by its name), read in chunks, so a file of any
//! size takes little memory.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::ConnectorError;

const CHUNK: usize = 64 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Bytes that have been read and not yet used, and the way to more of them.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Where the unused bytes begin in `buffer`.
    start: usize,
    /// How many bytes have been used, counted after decompression.
    position: u64,
    compressed: bool,
    n_read: Arc<AtomicU64>,
    n_total: u64,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, ConnectorError> {
        let cannot = |error: io::Error| ConnectorError::Invalid(format!("cannot open {}: {error}", path.display()));
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(ConnectorError::Invalid(format!("{} is a folder; name a file in it", path.display())));
        }
        let n_read = Arc::new(AtomicU64::new(0));
        let mut file = Counted { file, n_read: n_read.clone() };
        let mut head = Vec::new();
        file.by_ref().take(2).read_to_end(&mut head).map_err(cannot)?;
        let gzip = head == GZIP_MAGIC;
        let whole = Cursor::new(head).chain(file);
        let reader: Box<dyn Read + Send> = if gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        let mut input = Input {
            reader,
            buffer: Vec::new(),
            start: 0,
            position: 0,
            compressed: gzip,
            n_read,
            n_total: metadata.len(),
        };
        input.skip_byte_order_mark(path)?;
        Ok(input)
    }

    /// A text in memory.
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        Input {
            n_total: bytes.len() as u64,
            reader: Box::new(Cursor::new(bytes)),
            buffer: Vec::new(),
            start: 0,
            position: 0,
            compressed: false,
            n_read: Arc::default(),
        }
    }

    fn skip_byte_order_mark(&mut self, path: &Path) -> Result<(), ConnectorError> {
        while self.buffer.len() < UTF8_MARK.len() && self.fill().map_err(|e| read_error(path, &e))? {}
        if self.buffer.starts_with(UTF8_MARK) {
            self.consume(UTF8_MARK.len());
        } else if self.buffer.starts_with(&[0xff, 0xfe]) || self.buffer.starts_with(&[0xfe, 0xff]) {
            let help = "save it as UTF-8, for instance with `iconv -f UTF-16 -t UTF-8`";
            return Err(ConnectorError::Invalid(format!("{} is written in UTF-16; {help}", path.display())));
        }
        Ok(())
    }

    /// What has been read and not been used.
    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads more. `false` at the end of the file; a plain file that grows can be read on later.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.start > CHUNK && self.start * 2 > self.buffer.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let n = loop {
            match self.reader.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(before + *n.as_ref().unwrap_or(&0));
        Ok(n? > 0)
    }

    /// The first `n` pending bytes have been used.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        self.position += n as u64;
    }

    /// How many bytes have been used, counted after decompression.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file is compressed.
    pub(super) fn compressed(&self) -> bool {
        self.compressed
    }

    /// Drops everything up to and including the next line feed; `false` when the file ends before one.
    pub(super) fn discard_line(&mut self) -> io::Result<bool> {
        loop {
            let pending = self.pending();
            let found = pending.iter().position(|&b| b == b'\n');
            let n = found.map_or(pending.len(), |i| i + 1);
            self.consume(n);
            if found.is_some() || !self.fill()? {
                return Ok(found.is_some());
            }
        }
    }

    /// Bytes of the file (compressed, where it is) read, and in all.
    pub(super) fn progress(&self) -> (u64, u64) {
        let n_read = self.n_read.load(Ordering::Relaxed);
        (n_read, self.n_total.max(n_read))
    }
}

/// What a failed read means: a damaged file stays damaged, a disk that stutters may do better later.
pub(super) fn read_error(path: &Path, error: &io::Error) -> ConnectorError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        InvalidData | InvalidInput | UnexpectedEof => ConnectorError::Invalid(format!(
            "{} is damaged ({error}); everything before the damage has been read, fetch the file again for the rest",
            path.display()
        )),
        _ => ConnectorError::Retry(format!("cannot read {}: {error}", path.display())),
    }
}

struct Counted {
    file: File,
    n_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.n_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
