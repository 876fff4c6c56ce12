//! The doors of Signet: wire to model and back, caller authentication, and a typed client.

pub mod service;
