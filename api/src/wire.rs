//! Between the wire and the model.
