"""What any drug-response model has to beat: means, and the simplest models of the expression of the lines.

Every model of this package, these and the network, keeps one protocol, and so can a model of one's own:

``fit(screen, validation=None) -> self``
    ``screen`` is an AnnData as :func:`check_screen` describes it that holds all that may be learnt from, and
    nothing else (``fold.take(screen, "train+validation")``): values that are held out are NaN, lines and drugs
    without any value are not there; ``uns["response_only"]`` has the lines without expression that the split
    allows. ``validation`` marks, in booleans of the shape of ``screen.obsm["response"]``, the pairs that the
    split sets apart, by line, tissue, compound or pair, for tuning and early stopping. Once tuned, a model may
    learn from them too. None: the model sets pairs apart itself where it has to.

``predict_matrix(adata, drugs=None) -> DataFrame, lines × drugs``
    Predicted ln IC50 (µM), float, no NaN, rows as ``adata.obs_names``. ``adata`` needs ``X`` alone, with the
    genes of training; tissue and modalities are used if they are there, responses never. A line of training is
    known by its name, so that a model may use its mean (LPO, LDO). ``drugs`` is a table by drug with ``cid``
    and ``smiles`` as :func:`drug_table` returns it, whose rows are predicted in their order, drugs that were
    not in training among them (LDO); None: the drugs of training.

``name``
    What the model is called in tables; without it, the name of its class. :func:`benchmark` fits a deep copy
    in each fold, so a model is given unfitted and its seed is its own argument.
"""
