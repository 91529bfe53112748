//! Default compositions of the fusable operations: what an engine gets for its primitives alone.

pub mod attention;
pub mod columns;
pub mod cross_entropy;
pub mod fused;
pub mod linear_attention;
pub mod picker;
