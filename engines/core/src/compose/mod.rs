//! Default compositions of the fusable operations: what an engine gets for its primitives alone.

pub mod attention;
pub mod bucket_attention;
pub mod columns;
pub mod cross_entropy;
pub mod fused;
pub mod indices;
pub mod later;
pub mod linear_attention;
pub mod log_softmax;
mod look_back;
pub mod mixture;
pub mod per_head;
pub mod picker;
mod places;
