"""The names under which pm_lab keeps things in an AnnData. Nowhere else are these strings written."""

COUNTS = "counts"  # layers: raw integer counts

PATIENT = "patient"  # obs
KEEP = "keep"  # obs: passed quality control
DOUBLET_SCORE = "doublet_score"  # obs
CLUSTER = "cluster"  # obs
CELL_TYPE = "cell_type"  # obs
N_CELLS = "n_cells"  # obs of a pseudobulk

PCA = "X_pca"  # obsm
HARMONY = "X_harmony"  # obsm
UMAP = "X_umap"  # obsm
PATHWAYS = "pathways"  # obsm: patients x gene sets, activity
RESPONSE = "response"  # obsm of a drug screen: lines x drugs, ln IC50

ENDPOINTS = "endpoints"  # uns: {"os": {"time": ..., "event": ..., "unit": ...}}
DRUGS = "drugs"  # uns of a drug screen: the drug table
RECORD = "pm_lab"  # uns: the parameters and counts of each step, by function name

UNASSIGNED = "unassigned"
