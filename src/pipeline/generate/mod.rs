//! Making pictures: from a request to pictures with their texts.

pub mod infotext;
