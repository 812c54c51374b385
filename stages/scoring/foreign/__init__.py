"""What others computed, scored against wsolevaluation's metadata: folders of score maps, files of boxes and classes."""
