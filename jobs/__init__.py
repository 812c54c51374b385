"""The way in: the `weakbox` command and ready run configs."""
