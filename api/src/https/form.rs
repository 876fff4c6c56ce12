//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 Appendix B): in order, with duplicates, UTF-8 or nothing.

/// Why a body is not a form. The text names the fix and repeats nothing of the body, which may hold tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// `%` is not followed by two hexadecimal digits.
    #[error("the form has a '%' that is not followed by two hexadecimal digits")]
    Escape,
    /// What is encoded is not text.
    #[error("the form is not UTF-8")]
    Utf8,
    /// More than a token request can need.
    #[error("the form has more than 64 parameters")]
    TooMany,
}

/// The parameters, decoded, in order and with duplicates.
pub(super) fn parse(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let pieces = body.split(|b| *b == b'&').filter(|piece| !piece.is_empty());
    let mut parameters = Vec::new();
    for piece in pieces {
        if parameters.len() == MAX_PARAMETERS {
            return Err(FormError::TooMany);
        }
        let mut halves = piece.splitn(2, |b| *b == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        parameters.push((decode(name)?, decode(value)?));
    }
    Ok(parameters)
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            other => *other,
        });
    }
    String::from_utf8(out).map_err(|_| FormError::Utf8)
}

fn digit(byte: Option<&u8>) -> Result<u8, FormError> {
    match byte {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(FormError::Escape),
    }
}

const MAX_PARAMETERS: usize = 64;

/// A form for the wire.
pub(crate) fn encode<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in parameters {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(nibble.into(), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn keeps_order_and_duplicates() {
        let parsed = parse(b"b=1&a=2&b=3&&c&=d&e=f=g&h=i+j%20k%2B%c3%bc").unwrap();
        let expected = [
            pair("b", "1"),
            pair("a", "2"),
            pair("b", "3"),
            pair("c", ""),
            pair("", "d"),
            pair("e", "f=g"),
            pair("h", "i j k+ü"),
        ];
        assert_eq!(parsed, expected);
    }

    #[test]
    fn refuses_what_is_no_form() {
        assert_eq!(parse(b"a=%"), Err(FormError::Escape));
        assert_eq!(parse(b"a=%4"), Err(FormError::Escape));
        assert_eq!(parse(b"a=%zz"), Err(FormError::Escape));
        assert_eq!(parse(b"a=%+1"), Err(FormError::Escape));
        assert_eq!(parse(b"a=%ff"), Err(FormError::Utf8));
        assert_eq!(parse(&b"a=1&".repeat(65)), Err(FormError::TooMany));
        assert_eq!(parse(&b"a=1&".repeat(64)).unwrap().len(), 64);
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(parameters in proptest::collection::vec((".{1,9}", ".*"), 0..9)) {
            let encoded = encode(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert_eq!(parse(encoded.as_bytes()).unwrap(), parameters);
        }

        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }
    }
}
