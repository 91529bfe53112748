//! The vector engine: own kernels for AVX-512 (with AMX for products), AVX2, NEON and scalar code, packed weights, threads by rayon.
//!
//! It is the engine whose speed a comparison rests on: against slow kernels every approximation looks good. What it trades away is
//! simplicity: order of summation, and so the last bits of a result, depend on the instruction set.
//!
//! # Where things are
//! | file | what |
//! |---|---|
//! | [`backend`] | checks of operands, then a call to the file that does the work |
//! | [`buffer`], `element.rs`, `operands.rs` | numbers of any type in memory, one of them, and the checks of a call's operands |
//! | `isa.rs`, `vector/` | which instructions there are, how a kernel is compiled for each, the vectors that kernels are written in |
//! | `pool.rs`, `workspace.rs`, `aligned.rs` | threads, their scratch, memory on cache lines |
//! | `gemm/` | products of matrices; `matmul.rs` and `linear.rs` say which, `weight.rs` packs |
//! | `amx.rs` | whether tiles may be used, and their configuration |
//! | `narrow/` | products of bf16, f16 and int8 operands and of weights held as codes |
//! | `attention/` | attention over a pattern in one kernel, and inside the chunks of an order |
//! | `linear_attention.rs` | linear attention, a head at a time |
//! | `cross_entropy.rs` | losses over tiles of a vocabulary |
//! | `mixture/` | mixtures of experts |
//! | `activation.rs` | activations on vectors |
//! | `rowwise.rs`, `sweep.rs` | rows of any layout for kernels that take dense ones, on threads; loops over a dense row |
//! | `softmax.rs`, `log_softmax.rs`, `normalize.rs`, `reduce.rs`, `top_k.rs`, `rotary.rs`, `elementwise/` | kernels by rows and by elements |
//! | `rows.rs`, `sort.rs`, `conv.rs` | rows by index, orders, convolution |
//! | `walk.rs` | rows one element at a time, for what is not worth a kernel |
//! | `support.rs` | what it can be asked for |
//!
//! # How to extend it
//! * A kernel: a struct with its operands, `isa::Kernel` for it with `#[inline(always)] fn run<V: Vector>`, and
//!   `engine.isa.run(kernel)` inside of a task of `engine.pool.for_each`. Instructions that `vector::Vector` lacks are added to the trait
//!   and to its three files.
//! * A vectorised operation: its file takes `&Engine` and the views; `backend.rs` passes `&self.engine`. Scratch without an arena comes from
//!   `engine.workspace`, reserved before threads start.
//! * A precision: `support.rs` admits it, `narrow/codes.rs` gets a code for its weights and `narrow/unit.rs` a unit that multiplies them,
//!   `linear.rs` and `matmul.rs` choose the unit.
//! * An instruction set: an arm of `Isa`, a type in `vector/`, and the choice in `Isa::chosen`. Extras of one (bf16, VNNI, tiles) are
//!   detected beside it and asked for by the kernels that need them.

pub mod backend;
pub mod buffer;
pub mod weight;

mod activation;
mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod conv;
mod cross_entropy;
mod element;
mod elementwise;
mod gemm;
mod isa;
mod linear;
mod linear_attention;
mod log_softmax;
mod matmul;
mod mixture;
mod narrow;
mod normalize;
mod operands;
mod pool;
mod reduce;
mod rotary;
mod rows;
mod rowwise;
mod softmax;
mod sort;
mod support;
mod sweep;
mod top_k;
mod vector;
mod walk;
mod workspace;

pub use aligned::Aligned;
pub use backend::SimdBackend;
