//! A signature in DER is refused, or has the width that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_kms::aws::fixed_from_der;

fuzz_target!(|der: &[u8]| {
    for width in [32, 48] {
        if let Some(fixed) = fixed_from_der(der, width) {
            assert_eq!(fixed.len(), 2 * width);
        }
    }
});
