"""The names under which pm_lab keeps things in an AnnData. Nowhere else are these strings written."""

COUNTS = "counts"  # layers: raw integer counts

PATIENT = "patient"  # obs
KEEP = "keep"  # obs: passed quality control
DOUBLET_SCORE = "doublet_score"  # obs
CLUSTER = "cluster"  # obs
CELL_TYPE = "cell_type"  # obs
TISSUE = "tissue"  # obs of a drug screen
N_CELLS = "n_cells"  # obs of a pseudobulk

PCA = "X_pca"  # obsm
HARMONY = "X_harmony"  # obsm
UMAP = "X_umap"  # obsm
PATHWAYS = "pathways"  # obsm: patients x gene sets, activity
RESPONSE = "response"  # obsm of a drug screen: lines x drugs, ln IC50
COPY_NUMBER = "copy_number"  # obsm of a drug screen: lines x genes
MUTATION = "mutation"  # obsm of a drug screen: lines x genes, 0 or 1
METHYLATION = "methylation"  # obsm of a drug screen: lines x sites, 0 to 1

ENDPOINTS = "endpoints"  # uns: {"os": {"time": ..., "event": ..., "unit": ...}}
DRUGS = "drugs"  # uns of a drug screen: the drug table
FEATURES = "features"  # uns of a drug screen: {"copy_number": names of its columns, ...}
RESPONSE_MEASURE = "response_measure"  # uns of a drug screen: "ln_ic50" (where it is absent) or "auc"
RESPONSE_ONLY = "response_only"  # uns of a drug screen: lines without expression, {"obs", "response"}
RECORD = "pm_lab"  # uns: the parameters and counts of each step, by function name

UNASSIGNED = "unassigned"
UNKNOWN = "unknown"  # tissue of a cell line
