"""From face data sets as they come to registered faces, labels and folds: `drml prepare`."""
