//! JSON lines: one object a line, of bounded length. A line that cannot be read is handed over with its reason.

use std::io;

use serde_json::Value;

use super::input::Input;
use super::row::{Problem, Record, Records, Row, not_utf8, too_long};

pub(super) struct JsonLines {
    input: Input,
    n_bytes_max: usize,
    /// A last line without a line end may still be in the writer's hands: leave it for later.
    growing: bool,
    /// The number of the next line, from 1.
    line: u64,
    /// The beginning of an over-long line of a growing file, whose end has not been written yet.
    unended: Option<Vec<u8>>,
}

impl JsonLines {
    pub(super) fn new(input: Input, n_bytes_max: usize, growing: bool) -> Self {
        JsonLines { input, n_bytes_max, growing, line: 1, unended: None }
    }

    /// The bytes of the next line without its end, and whether it had one within the limit; `None` when there is no
    /// further line.
    fn take_line(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        if let Some(line) = self.unended.take() {
            return self.skip_rest(line);
        }
        let mut n_searched = 0;
        loop {
            let pending = self.input.pending();
            let upto = pending.len().min(self.n_bytes_max);
            if let Some(i) = pending[n_searched..upto].iter().position(|&b| b == b'\n') {
                let line = pending[..n_searched + i].to_vec();
                self.input.consume(line.len() + 1);
                return Ok(Some((line, true)));
            }
            n_searched = upto;
            if upto == self.n_bytes_max {
                let line = pending[..upto.min(super::RECORD_BYTES_KEPT)].to_vec();
                self.input.consume(upto);
                return self.skip_rest(line);
            }
            if !self.input.fill()? {
                if upto == 0 || self.growing {
                    return Ok(None);
                }
                let line = self.input.pending().to_vec();
                self.input.consume(line.len());
                return Ok(Some((line, true)));
            }
        }
    }

    /// Leaves out the rest of an over-long line; `None` where it is still being written.
    fn skip_rest(&mut self, line: Vec<u8>) -> io::Result<Option<(Vec<u8>, bool)>> {
        if !self.input.discard_line()? && self.growing {
            self.unended = Some(line);
            return Ok(None);
        }
        Ok(Some((line, false)))
    }
}

impl Records for JsonLines {
    fn next(&mut self) -> io::Result<Option<Record>> {
        while let Some((mut raw, whole)) = self.take_line()? {
            let line = self.line;
            self.line += 1;
            if raw.last() == Some(&b'\r') {
                raw.pop();
            }
            if whole && raw.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = if whole { parse(&raw) } else { Err(too_long(self.n_bytes_max)) };
            return Ok(Some(Record { line, raw, row }));
        }
        Ok(None)
    }

    fn progress(&self) -> (u64, u64) {
        self.input.progress()
    }
}

fn parse(raw: &[u8]) -> Result<Row, Problem> {
    let text = std::str::from_utf8(raw).map_err(|e| not_utf8(&e))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Row::Object(object)),
        Ok(_) => Err(Problem::new("not_an_object", "the line is JSON, but not an object `{ ... }`")),
        Err(error) => Err(Problem::new("bad_json", format!("the line is not JSON: {error}"))),
    }
}
