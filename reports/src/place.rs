//! Where the report goes when nobody says: into the project if the current folder is in one, else beside the person.

use std::io;
use std::path::{Path, PathBuf};

/// What only the project's root has.
const MARK: &str = "experiments/definitions";

/// `reports/latest` under the project's root (`$CROSSOVER_ROOT`, as for the other commands, else the folder around the current one
/// that looks like it), `./report` where there is no project.
pub(crate) fn default_out() -> io::Result<PathBuf> {
    match std::env::var_os("CROSSOVER_ROOT") {
        Some(root) => Ok(Path::new(&root).join("reports/latest")),
        None => Ok(default_out_from(&std::env::current_dir()?)),
    }
}

fn default_out_from(folder: &Path) -> PathBuf {
    let root = folder.ancestors().find(|ancestor| ancestor.join(MARK).is_dir());
    root.map_or_else(|| PathBuf::from("report"), |root| root.join("reports/latest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_from_inside() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("results/runs/x");
        std::fs::create_dir_all(&inside).unwrap();
        assert_eq!(default_out_from(&inside), Path::new("report"));
        std::fs::create_dir_all(folder.path().join(MARK)).unwrap();
        assert_eq!(default_out_from(&inside), folder.path().join("reports/latest"));
    }
}
