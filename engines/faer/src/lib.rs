//! The faer engine: matrix products by faer, a linear-algebra library in Rust whose kernels choose their instructions at run time.
//!
//! It stands for what an engineer gets who takes a good BLAS off the shelf: fast products, and a pass over memory for everything around
//! them. So products, linear layers and what is composed of them (attention, gated layers, linear attention) go through faer; rows,
//! elements and indices, of which faer has none, are the vector engine's kernels, which makes a comparison of the two engines one of
//! their products and of fusing.
//!
//! | file | what |
//! |---|---|
//! | [`backend`] | which operation goes where |
//! | `products.rs` | views as faer's matrices; alpha, beta; threads |
//! | [`weight`] | prepared weights |
//!
//! # Limits
//! * f64 and f32. faer has no kernels for narrower types, and none are pretended: other precisions are refused when it is built.
//! * Parallelism is explicit (`Par`), in a pool of the cell's size; faer's global setting is disabled.
//! * That pool stands beside the vector engine's, which serves the rest and has one thread less, as its caller works too; faer divides its
//!   work by rayon, which wants all threads in one pool. With several threads each product is therefore handed over
//!   (`ThreadPool::install`) while the caller sleeps until it is done: one thread wakes, wakes the next, and at the end the caller, and
//!   the operations between two products wake the other pool. Large products do not notice; small cells with several threads are slower
//!   here than faer itself would have to be (the vector engine took three times as long for 128 cubed while it did the same, see its
//!   `NOTES.md`, *Threads*). With one thread there is no pool and no handover.
//! * faer takes packing buffers of its own from the allocator in each call. So a warm call allocates, unlike on the other CPU engines, and
//!   the allocator's peak is above the declared scratch, which cannot count them.
//! * The instruction set is faer's choice: a cell that forces one is refused, and rows say so beside the family that the rest uses.

pub mod backend;
pub mod weight;

mod products;

pub use backend::FaerBackend;
