//! A small DER writer: one pass, one buffer. What it writes is held against `x509-cert` in tests.

use crate::time::UnixTime;
use der::DateTime;
use std::time::Duration;

/// DER being written.
pub(super) struct Writer {
    der: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { der: Vec::with_capacity(bytes) }
    }

    pub(super) fn into_der(self) -> Vec<u8> {
        self.der
    }

    /// Bytes that are DER already.
    pub(super) fn raw(&mut self, der: &[u8]) {
        self.der.extend_from_slice(der);
    }

    /// A value whose content is known.
    pub(super) fn value(&mut self, tag: u8, content: &[u8]) {
        self.nested(tag, |w| w.raw(content));
    }

    /// A value that holds what `content` writes. Room is left for a length of one byte; longer contents are moved up,
    /// which at the size of a certificate is cheaper than measuring first.
    pub(super) fn nested(&mut self, tag: u8, content: impl FnOnce(&mut Self)) {
        self.der.push(tag);
        let start = self.der.len();
        content(self);
        let length = self.der.len() - start;
        let bytes = length.to_be_bytes();
        let digits = bytes.get(bytes.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
        match digits {
            [] => self.der.insert(start, 0),
            [short @ 0..=0x7f] => self.der.insert(start, *short),
            long => {
                #[expect(clippy::cast_possible_truncation, reason = "a usize has at most 8 bytes")]
                let head = 0x80 | long.len() as u8;
                self.der.splice(start..start, std::iter::once(head).chain(long.iter().copied()));
            }
        }
    }

    /// `UTCTime` until 2049, `GeneralizedTime` from 2050 (RFC 5280 §4.1.2.5). What is after the year 9999 is written
    /// as its last second.
    pub(super) fn time(&mut self, time: UnixTime) {
        let time = date_time(time);
        let (century, year) = (time.year() / 100, time.year() % 100);
        let (tag, century) =
            if time.year() < 2050 { (tag::UTC_TIME, None) } else { (tag::GENERALIZED_TIME, Some(century)) };
        let century = century.map(two_digits);
        #[expect(clippy::cast_possible_truncation, reason = "a number below 100")]
        let rest = [year as u8, time.month(), time.day(), time.hour(), time.minutes(), time.seconds()];
        self.nested(tag, |w| {
            w.raw(century.as_ref().map_or(&[], |digits| digits.as_slice()));
            for number in rest {
                w.raw(&two_digits(u16::from(number)));
            }
            w.raw(b"Z");
        });
    }
}

/// A time as people and RFC 3339 write it.
pub(super) fn rfc3339(time: UnixTime) -> String {
    date_time(time).to_string()
}

fn date_time(time: UnixTime) -> DateTime {
    DateTime::from_unix_duration(Duration::from_secs(time.secs())).unwrap_or(DateTime::INFINITY)
}

const fn two_digits(number: u16) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// DER tags.
pub(super) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[0]` primitive, as in `keyIdentifier`.
    pub(crate) const IMPLICIT_0: u8 = 0x80;
    /// `[2]` primitive: `dNSName`.
    pub(crate) const IMPLICIT_2: u8 = 0x82;
    /// `[6]` primitive: `uniformResourceIdentifier`.
    pub(crate) const IMPLICIT_6: u8 = 0x86;
    /// `[7]` primitive: `iPAddress`.
    pub(crate) const IMPLICIT_7: u8 = 0x87;
    /// `[0]` constructed.
    pub(crate) const CONSTRUCTED_0: u8 = 0xa0;
    /// `[3]` constructed.
    pub(crate) const EXPLICIT_3: u8 = 0xa3;
}

#[cfg(test)]
mod tests {
    use der::asn1::OctetStringRef;
    use der::{Decode as _, Encode as _};
    use x509_cert::time::Time;

    use super::*;

    #[test]
    fn lengths_are_minimal_at_every_border() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let mut writer = Writer::with_capacity(0);
            writer.value(tag::OCTET_STRING, &content);
            assert_eq!(writer.into_der(), OctetStringRef::new(&content).unwrap().to_der().unwrap(), "{length}");
        }
    }

    #[test]
    fn times_change_form_in_2050() {
        for (secs, text) in [
            (0, &b"\x17\x0d700101000000Z"[..]),
            (951_782_399, b"\x17\x0d000228235959Z"),
            (2_524_607_999, b"\x17\x0d491231235959Z"),
            (2_524_608_000, b"\x18\x0f20500101000000Z"),
            (253_402_300_799, b"\x18\x0f99991231235959Z"),
            (u64::MAX / 1000, b"\x18\x0f99991231235959Z"),
        ] {
            let mut writer = Writer::with_capacity(0);
            writer.time(UnixTime::from_secs(secs));
            let der = writer.into_der();
            assert_eq!(der, text, "{secs}");
            assert_eq!(Time::from_der(&der).unwrap().to_unix_duration().as_secs(), secs.min(253_402_300_799));
        }
    }
}
