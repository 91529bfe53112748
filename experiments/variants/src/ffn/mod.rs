//! Feed-forward layers: two linear maps with a non-linearity between them, exactly or compressed.

pub mod dense;
