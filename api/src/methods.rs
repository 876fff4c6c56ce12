//! Which methods there are, and who may call them.
