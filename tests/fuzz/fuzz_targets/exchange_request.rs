//! Token requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::exchange::Request;

fuzz_target!(|text: &str| {
    let parameters: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Err(error) = Request::parse(&parameters) {
        // RFC 6749 §5.2: what may stand in a description.
        assert!(error.description.chars().all(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')));
    }
});
