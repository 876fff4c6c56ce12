//! Pages of a list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use signet_model::entry::EntryId;
use signet_model::refusal::Refusal;

use crate::service::Page;

/// The part of the list that is asked for.
pub(crate) fn page(size: i32, token: &str) -> Result<Page, Refusal> {
    let size =
        u32::try_from(size).map_err(|_| Refusal::invalid("page_size must not be negative; 0 is the server's limit"))?;
    let after = if token.is_empty() { None } else { Some(decode(token).ok_or_else(malformed)?) };
    Ok(Page { size, after })
}

/// What a client sends to get the page that begins after `id`. Opaque, so that it can change.
pub(crate) fn token(id: &EntryId) -> String {
    URL_SAFE_NO_PAD.encode([&[VERSION], id.as_str().as_bytes()].concat())
}

fn decode(token: &str) -> Option<EntryId> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, id) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn malformed() -> Refusal {
    Refusal::invalid("malformed page_token; pass next_page_token of the answer before, unchanged")
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_page_and_nothing_else_is_one() {
        let id: EntryId = "0193-abc".parse().unwrap();
        assert_eq!(page(5, &token(&id)).unwrap().after, Some(id));
        for bad in ["x", "0193-abc", "====", &URL_SAFE_NO_PAD.encode("\u{2}abc"), &URL_SAFE_NO_PAD.encode("\u{1}a b")] {
            assert!(page(0, bad).is_err(), "{bad}");
        }
        assert!(page(-1, "").unwrap_err().detail.contains("page_size"));
    }
}
