//! How nouns become bytes that are kept or sent: CBOR with numbered fields (RFC 8949), so that a field can be added
//! and an old record still loads. A number, once used, is never given to another field.

/// Encodes a value into its stored form.
#[must_use]
pub fn to_bytes<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    // Most records fit: growing from nothing took a good part of the time that applying a command takes.
    to_bytes_of(value, COMMON_SIZE)
}

/// Encodes a value into its stored form, of which the caller knows about how large it is. A guess too low costs a little
/// time, one too high a little memory.
#[must_use]
pub fn to_bytes_of<T: minicbor::Encode<()>>(value: &T, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
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

/// Stores types that print and parse exactly as that text. Each has a method `parts` with the pieces of it, since this is
/// done many times for each command.
macro_rules! text_form {
    ($($name:ty),+) => {$(
        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                let parts = self.parts();
                encoder.str_len(parts.iter().map(|part| part.len() as u64).sum())?;
                for part in parts {
                    encoder.writer_mut().write_all(part.as_bytes()).map_err(minicbor::encode::Error::write)?;
                }
                encoder.ok()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.parts().into_iter().try_for_each(|part| f.write_str(part))
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
