//! Calibration: from signals and their outcomes to the file that CALIBRATION_PATH loads.
//!
//! `rows` joins and splits, `fit` fits, `measures` judges, `train` puts them together and decides
//! whether the new file is better than what there is. Nothing is written here, and what is judged is
//! the text of the file as the scanner will load it, not the numbers that went into it.

pub mod fit;
pub mod measures;
pub mod page;
pub mod prepare;
pub mod rows;
pub mod train;
pub mod verdict;
