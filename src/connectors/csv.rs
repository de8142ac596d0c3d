//! CSV rows of bounded length. A row that cannot be read is handed over with its reason, and reading goes on behind it.
//!
//! The one accident that CSV invites is a stray quote: by the letter of the format it swallows everything up to the next
//! quote, maybe thousands of good rows. So a row that runs over several lines and then does not have the header's number
//! of cells, or never ends, or has text behind a closing quote, is taken back: its first line alone is put aside, and
//! reading goes on at the second. A line is taken back at most once, so a hostile file costs twice its length at most.

use std::io;
use std::path::Path;
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::ConnectorError;
use super::input::{Input, read_error};
use super::row::{Problem, Record, Records, Row, not_utf8, too_long};

pub(super) struct CsvRecords {
    input: Input,
    reader: Reader,
    columns: Arc<[String]>,
    delimiter: u8,
    /// Longest row in bytes, its line end included.
    n_bytes_max: usize,
    /// A last line without a line end may still be in the writer's hands: leave it for later.
    growing: bool,
    /// The line on which the next row begins, from 1.
    line: u64,
    /// Up to here (in bytes) rows have been taken back once.
    taken_back_to: u64,
    /// An over-long row of a growing file, whose end has not been written yet.
    unended: Option<Record>,
    cells: Vec<u8>,
    ends: Vec<usize>,
}

/// How far one row reaches.
enum Scan {
    /// A whole row: bytes in the input with the line end, and cells.
    Row { n_bytes: usize, n_cells: usize },
    /// A quote is open when this many bytes are over: the end of the file, or as much as a row may have.
    Endless { n_bytes: usize },
    /// No further row.
    End,
}

impl CsvRecords {
    /// Reads the header; `required` are the columns that the mapping asks for.
    pub(super) fn open(
        mut input: Input,
        path: &Path,
        delimiter: u8,
        n_bytes_max: usize,
        growing: bool,
        required: &[&str],
    ) -> Result<Self, ConnectorError> {
        let invalid = |text: String| ConnectorError::Invalid(format!("{} {text}", path.display()));
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        if input.pending().is_empty() && !input.fill().map_err(|e| read_error(path, &e))? {
            return Err(invalid("is empty; its first row must name the columns".to_owned()));
        }
        let mut records = CsvRecords {
            input,
            reader,
            columns: Arc::new([]),
            delimiter,
            n_bytes_max,
            growing,
            line: 1,
            taken_back_to: 0,
            unended: None,
            cells: vec![0; 4096],
            ends: vec![0; 64],
        };
        let header = match records.scan().map_err(|e| read_error(path, &e))? {
            Scan::Row { n_bytes, n_cells } => {
                let header = records.take(n_bytes, n_cells);
                header.row.map_err(|p| invalid(format!("has an unreadable header: {}", p.message)))?
            }
            Scan::Endless { .. } => {
                return Err(invalid(format!("has no header: its first row does not end within {n_bytes_max} bytes")));
            }
            Scan::End => return Err(invalid("has no row that names the columns".to_owned())),
        };
        if let Row::Cells { text, ends, .. } = header {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            records.columns = starts.zip(&ends).map(|(from, &to)| text[from..to].trim().to_owned()).collect();
        }
        super::validate::check_columns(&records.columns, required).map_err(invalid)?;
        Ok(records)
    }

    /// The row that names the columns, as it would be written.
    pub(super) fn header(&self) -> String {
        let quoted = |column: &String| format!("\"{}\"", column.replace('"', "\"\""));
        let columns: Vec<String> = self.columns.iter().map(quoted).collect();
        columns.join(&char::from(self.delimiter).to_string())
    }

    /// Finds the end of the row that begins at the first pending byte. Hands the parser never more than the longest row,
    /// so where a row is cut off does not depend on how the file happened to be read.
    fn scan(&mut self) -> io::Result<Scan> {
        self.reader.reset();
        if !self.skip_blank_lines()? {
            return Ok(Scan::End);
        }
        let (mut n_bytes, mut n_cell_bytes, mut n_cells) = (0, 0, 0);
        loop {
            if n_bytes >= self.n_bytes_max {
                return Ok(Scan::Endless { n_bytes });
            }
            let at_end = n_bytes == self.input.pending().len() && !self.input.fill()?;
            let pending = self.input.pending();
            if at_end && self.growing {
                return Ok(Scan::End);
            }
            // At the end of the file a line end is supplied: it ends the row unless a quote is open.
            let next = if at_end { b"\n" } else { &pending[n_bytes..pending.len().min(self.n_bytes_max)] };
            let (result, n_read, n_written, n_ends) =
                self.reader.read_record(next, &mut self.cells[n_cell_bytes..], &mut self.ends[n_cells..]);
            n_bytes += if at_end { 0 } else { n_read };
            n_cell_bytes += n_written;
            n_cells += n_ends;
            match result {
                ReadRecordResult::OutputFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Ok(Scan::Row { n_bytes, n_cells }),
                ReadRecordResult::InputEmpty | ReadRecordResult::End if at_end => return Ok(Scan::Endless { n_bytes }),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
            }
        }
    }

    /// Goes to the first byte of the next row. `false` when there is none.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let pending = self.input.pending();
            let n_blank = pending.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
            let found = n_blank < pending.len();
            self.advance(n_blank);
            if found || !self.input.fill()? {
                return Ok(found);
            }
        }
    }

    /// Takes the first `n_bytes` pending as one record of `n_cells` cells.
    fn take(&mut self, n_bytes: usize, n_cells: usize) -> Record {
        let (line, raw) = (self.line, self.without_line_end(n_bytes));
        let row = self.parse(&raw, n_cells);
        self.advance(n_bytes);
        Record { line, raw, row }
    }

    /// Takes the first line alone, as one that should not have gone on.
    fn take_back(&mut self, n_scanned: usize) -> Record {
        self.taken_back_to = self.input.position() + n_scanned as u64;
        let first = self.input.pending()[..n_scanned].iter().position(|&b| b == b'\n');
        let n_bytes = first.map_or(n_scanned, |i| i + 1);
        let (line, raw) = (self.line, self.without_line_end(n_bytes));
        self.advance(n_bytes);
        Record { line, raw, row: Err(unclosed_quote()) }
    }

    /// Leaves out the rest of an endless line; `None` where it is still being written.
    fn skip_endless(&mut self, n_bytes: usize) -> io::Result<Option<Record>> {
        let (line, mut raw) = (self.line, self.without_line_end(n_bytes));
        raw.truncate(super::RECORD_BYTES_KEPT);
        let is_at_line_end = self.input.pending()[..n_bytes].ends_with(b"\n");
        self.advance(n_bytes);
        if n_bytes < self.n_bytes_max {
            return Ok(Some(Record { line, raw, row: Err(unclosed_quote()) }));
        }
        let record = Record { line, raw, row: Err(too_long(self.n_bytes_max)) };
        // What follows is a row of its own.
        if is_at_line_end { Ok(Some(record)) } else { self.skip_rest(record) }
    }

    fn skip_rest(&mut self, record: Record) -> io::Result<Option<Record>> {
        if !self.input.discard_line()? && self.growing {
            self.unended = Some(record);
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(record))
    }

    fn advance(&mut self, n_bytes: usize) {
        self.line += count_lines(&self.input.pending()[..n_bytes]);
        self.input.consume(n_bytes);
    }

    fn without_line_end(&self, n_bytes: usize) -> Vec<u8> {
        let bytes = &self.input.pending()[..n_bytes];
        let n_kept = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |i| i + 1);
        bytes[..n_kept].to_vec()
    }

    fn parse(&self, raw: &[u8], n_cells: usize) -> Result<Row, Problem> {
        if let Err(error) = std::str::from_utf8(raw) {
            return Err(not_utf8(&error));
        }
        let n_columns = self.columns.len();
        if n_columns > 0 && n_cells != n_columns {
            let message = format!("the row has {n_cells} cells, the header {n_columns}");
            return Err(Problem::new("wrong_number_of_cells", message));
        }
        let ends = self.ends[..n_cells].to_vec();
        let bytes = &self.cells[..ends.last().copied().unwrap_or(0)];
        // Cutting at quotes and delimiters, all ASCII, leaves valid UTF-8 valid.
        let text = String::from_utf8(bytes.to_vec()).map_err(|e| not_utf8(&e.utf8_error()))?;
        Ok(Row::Cells { columns: self.columns.clone(), text, ends })
    }
}

impl Records for CsvRecords {
    fn next(&mut self) -> io::Result<Option<Record>> {
        if let Some(record) = self.unended.take() {
            return self.skip_rest(record);
        }
        let scan = self.scan()?;
        let may_take_back = self.input.position() >= self.taken_back_to;
        let several_lines = |records: &Self, n_bytes: usize| records.input.pending()[..n_bytes - 1].contains(&b'\n');
        Ok(Some(match scan {
            Scan::End => return Ok(None),
            Scan::Row { n_bytes, n_cells } => {
                let wrong = |records: &Self| {
                    n_cells != records.columns.len()
                        || !is_well_quoted(&records.input.pending()[..n_bytes], records.delimiter)
                };
                if may_take_back && several_lines(self, n_bytes) && wrong(self) {
                    self.take_back(n_bytes)
                } else {
                    self.take(n_bytes, n_cells)
                }
            }
            Scan::Endless { n_bytes } => {
                if may_take_back && several_lines(self, n_bytes) {
                    self.take_back(n_bytes)
                } else {
                    return self.skip_endless(n_bytes);
                }
            }
        }))
    }

    fn progress(&self) -> (u64, u64) {
        self.input.progress()
    }
}

/// Whether every quoted cell of a row ends with its closing quote. The parser forgives text behind one.
fn is_well_quoted(row: &[u8], delimiter: u8) -> bool {
    let (mut rest, mut cell_begins) = (row, true);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if !cell_begins || byte != b'"' {
            cell_begins = byte == delimiter;
            continue;
        }
        loop {
            let Some(quote) = rest.iter().position(|&b| b == b'"') else { return false };
            rest = &rest[quote + 1..];
            match rest.first() {
                Some(b'"') => rest = &rest[1..],
                None | Some(b'\n' | b'\r') => return true,
                Some(&b) if b == delimiter => break,
                Some(_) => return false,
            }
        }
        cell_begins = false;
    }
    true
}

fn unclosed_quote() -> Problem {
    let message = "a quote that opens on this line is not closed where it should be; close it, or double it in a cell";
    Problem::new("unclosed_quote", message)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split(|&b| b == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn well_formed_rows_read_as_the_csv_library_reads_them(
            rows in prop::collection::vec(prop::array::uniform3("[ab\",\n\r é]{0,6}"), 0..12),
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&writer.into_inner().unwrap()).unwrap();
            let input = Input::open(file.path()).unwrap();
            let mut records = CsvRecords::open(input, file.path(), b',', 1024, false, &["b"]).unwrap();
            let mut read = Vec::new();
            while let Some(record) = records.next().unwrap() {
                let Row::Cells { text, ends, .. } = record.row.unwrap() else { unreachable!() };
                read.push([&text[..ends[0]], &text[ends[0]..ends[1]], &text[ends[1]..ends[2]]].map(str::to_owned));
            }
            prop_assert_eq!(read, rows);
        }
    }
}
