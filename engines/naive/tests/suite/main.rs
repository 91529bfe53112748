//! The oracle against loops written out here, and the core's compositions against the same, since this is the engine they run on.

mod attention;
mod compositions;
mod elementwise;
mod faults;
mod helpers;
mod indices;
mod linear;
mod matmul;
mod rowwise;
