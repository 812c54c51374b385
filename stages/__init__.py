"""Stages: one room per step or paper."""
