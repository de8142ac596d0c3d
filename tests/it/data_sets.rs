//! The public data sets that other tests take their numbers from are the whole published files and not cut copies.

use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::MultiGzDecoder;

use crate::not_run::data_set;

fn n_rows(path: &std::path::Path) -> usize {
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).split(b'\n');
    lines.inspect(|line| assert!(line.is_ok())).count() - 1
}

#[test]
fn the_cdnow_file_has_every_purchase_of_the_cohort() {
    let Some(path) = data_set("CDNOW", "cdnow_master.csv.gz") else { return };
    assert_eq!(n_rows(&path), 69_659);
}

#[test]
fn the_online_retail_file_has_every_row() {
    let Some(path) = data_set("Online Retail", "online_retail.csv.gz") else { return };
    assert_eq!(n_rows(&path), 541_909);
}
