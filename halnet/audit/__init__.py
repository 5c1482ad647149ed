"""The audit report: what those who must judge an age check want to know of a model."""
