//! (being written)
pub struct CacheKey([u8; 32]);
