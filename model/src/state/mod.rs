//! How commands change replicated state.
