//! How nouns become bytes that are kept or sent: CBOR with numbered fields (RFC 8949), so that a field can be added
//! and an old record still loads. A number, once used, is never given to another field.

/// Encodes a value into its stored form.
#[must_use]
pub fn to_bytes<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    // Most records fit: growing from nothing took a good part of the time that applying a command takes.
    let mut bytes = Vec::with_capacity(COMMON_SIZE);
    match minicbor::encode(value, &mut bytes) {
        Ok(()) => bytes,
        // Writing to a `Vec` cannot fail, and no encoder here returns an error of its own.
        Err(never) => unreachable!("encoding into memory failed: {never}"),
    }
}

/// Decodes a stored form.
///
/// # Errors
/// The bytes were not written by [`to_bytes`] for this type, or by a program too new for this one. For a record of the
/// log or the state that means this process must not go on.
pub fn from_bytes<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, StoredFormError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder
        .decode()
        .map_err(|cause| StoredFormError { type_name: std::any::type_name::<T>(), cause: Some(cause) })?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(StoredFormError { type_name: std::any::type_name::<T>(), cause: None })
    }
}

const COMMON_SIZE: usize = 512;

/// Bytes that are not the stored form they were taken for.
#[derive(Debug, thiserror::Error)]
#[error("not the stored form of {type_name}")]
pub struct StoredFormError {
    type_name: &'static str,
    #[source]
    cause: Option<minicbor::decode::Error>,
}

/// Stores types that print and parse exactly as that text.
macro_rules! text_form {
    ($($name:ty),+) => {$(
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.str(&self.to_string())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                decoder.str()?.parse().map_err(|_| minicbor::decode::Error::message(concat!("not a ", stringify!($name))))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use text_form;
