"""A test that passes on broken code is no test: each mutant here is a bug that may well happen, and tests must see it.

    python tests/mutants.py [PART ..] [--list]

Works on a temporary copy: the checkout stays as it is. PART selects the mutants whose line of --list holds it. Exit
status 1: a mutant survives, a text is not found exactly once in its file, or the tests fail without a mutant.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("sed_model", "trainables", "analysis", "search_spaces", "tests", "scripts", "benchmarks", "pyproject.toml")
# Hypothesis draws the same each time; a mutant that never ends fails by the timeout.
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--timeout=60", "--hypothesis-seed=0"]
PYTEST += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of libraries that are there already
LIBRARIES = ("audiomentations", "numba", "optuna", "ray.tune", "sklearn.model_selection", "timm", "torchaudio")


@dataclass(frozen=True)
class Mutant:
    """A bug: `text`, which is in `file` once, becomes `replacement`; one of `tests` (files or ids) has to fail."""

    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    @property
    def function(self) -> str:
        """The innermost function around the text."""
        source = (ROOT / self.file).read_text(encoding="utf-8")
        line = source[: source.find(self.text)].count("\n") + 1
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        around = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
        return max(around, key=lambda node: node.lineno).name if around else "module"

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.text, self.replacement))
        return f"{self.file} {self.function}: {before}  ->  {after}"


def bugs_in(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    """Mutants of one file: each text and its replacement. `tests` are paths below tests/, with spaces between them."""
    return [Mutant(file, *change, tuple(f"tests/{name}" for name in tests.split())) for change in changes]


# fmt: off
MUTANTS = [
    *bugs_in("sed_model/model/heads.py", "sed_model/model/test_heads.py",
        ("features.mean(dim=2)", "features.mean(dim=3)"),
        (".mean(dim=2).pow(1 / self.p)", ".mean(dim=2)"),
        ("normed + positions(frames.shape[1], normed)", "normed"),
        ("self.classify(frames)", "self.classify(frames + (self.self_attention or torch.zeros_like)(frames))"),
        ("torch.tanh(self.attend(weighed))", "torch.tanh(self.attend(frames))"),
        ("outside = ~frames_inside", "outside = frames_inside"),
        ("(centres < target[:, 1:])", "(centres <= target[:, 1:])")),
    *bugs_in("sed_model/train/losses.py", "sed_model/train/test_losses.py",
        ("_bce_elements(logits.float(), _smoothed(targets, settings))", "_bce_elements(logits.float(), targets)"),
        ("targets * torch.sigmoid(-logits)", "targets * torch.sigmoid(logits)"),
        ("(absent + settings.asymmetric_margin)", "absent"),
        ("weights * (total > 0)", "weights"),
        ("torch.maximum(first, second).detach().sigmoid()", "torch.maximum(first, second).sigmoid()"),
        ("logits[:, columns].T - logits[rows, columns]", "logits[:, columns].T + logits[rows, columns]"),
        ("(1 - other) * weights", "weights"),
        ("weights[rows] * targets[rows, columns]", "weights[rows]"),
        ("frame_logits.amax(dim=1)", "frame_logits.mean(dim=1)"),
        ("/ n_kept.clamp(min=1)", "/ mask.shape[1]"),
        ("/ weights.sum().clamp(min=_TINY)", "/ len(weights)")),
    *bugs_in("sed_model/train/validation.py", "sed_model/train/test_validation.py",
        ("n_clips // runtime.world_size", "n_clips"),
        ("min(config.inference.batch_size, max(", "max(config.inference.batch_size, max(")),
    *bugs_in("sed_model/train/distil.py", "sed_model/train/test_distil.py",
        ("(distances * known).sum()", "distances.sum()"),
        ("1 - F.cosine_similarity", "1 + F.cosine_similarity"),
        ("frames.mean(dim=1)", "frames.amax(dim=1)")),
    *bugs_in("sed_model/train/probe.py", "sed_model/train/test_probe.py",
        ("fit_linear(clips.rows(~inside), STRENGTHS)", "fit_linear(clips, STRENGTHS)"),
        ("score > scores[best] + LEAST_GAIN", "score >= scores[best]"),
        ("scored = clips.scored\n", "scored = np.ones_like(clips.scored)\n"),
        ("(bias - scaled @ mean)", "bias"),
        ("filled.index(min(filled))", "len(fold_of) % N_FOLDS"),
        ("np.median(clips.logits)", "0.0"),
        ("np.where(knows, 1 / np.sqrt(2), 1)", "np.where(knows, 1, 1)"),
        ("rows = self.clips.scored if self.clips.scored.any() else", "rows ="),
        ("used = self.clips.mask[rows] & known", "used = self.clips.mask[rows]"),
        ("if scale > 0 else linear", ""),
        ("- scale * levels)", ")")),
    *bugs_in("sed_model/train/logistic.py", "sed_model/train/test_logistic.py",
        ("(each * self.mask).sum()", "each.sum()"),
        ("strength / 2 * weights", "strength * weights"),
        ("(told * counts).sum(dim=0)", "told.sum(dim=0)"),
        ("> LEAST_VARIANCE * max", "> 0 * max")),
    *bugs_in("sed_model/train/probe_clips.py", "sed_model/train/test_probe_clips.py",
        ("Stage(secondary_weight=0.0)", "Stage(secondary_weight=1.0)"),
        ('table[table["path"].isin(split.soundscapes_train)]', "table"),
        ("folder.recordings.iloc[split.train]", "folder.recordings"),
        ("np.repeat([not scapes, True]", "np.repeat([True, True]"),
        ('one["author" if by_author else "path"]', 'one["author"]')),
    *bugs_in("sed_model/clips/heard_alike.py", "sed_model/clips/test_heard_alike.py",
        ("table = folder.recordings[is_heard]", "table = folder.recordings[: sum(is_heard)]"),
        ("labels[one.nearest]", "label"),
        ("author[:MAX_TEXT]", "author"),
        ('table["secondary_labels"].tolist()', "[()] * len(labels)")),
    *bugs_in("sed_model/teacher/matching.py", "sed_model/teacher/test_matching.py",
        (" and index_of[name] not in taken", ""),
        ("if len(found) == 1", "if found"),
        ("len(words) > 1 and words[0] in QUALIFIERS", "len(words) > 1"),
        ("if place not in found and name", "if name")),
    *bugs_in("sed_model/teacher/windows.py", "sed_model/teacher/test_windows.py",
        ("np.append(starts, spare) if", "starts if"),
        ("> LEAST_REST * length", "> 0"),
        ("spare / hop + 1e-9", "spare / hop")),
    *bugs_in("sed_model/teacher/description.py", "sed_model/teacher/test_description.py",
        (' or ".." in PurePosixPath(inner).parts', ""),
        ("if self.digest() != sha256", "if False"),
        ("else (path.parent / value).absolute()", "else Path(value).absolute()")),
    *bugs_in("sed_model/teacher/runner.py", "sed_model/teacher/test_runner.py",
        (" and np.isfinite(logits).all()", ""),
        ("n_labels != sizes[1]", "n_labels > sizes[1]"),
        ("return load_teacher, (self.description, True)", "return load_teacher, (self.description, False)")),
    *bugs_in("sed_model/teacher/first_window.py", "sed_model/teacher/test_first_window.py",
        ("if tried.returncode == REFUSED", "if tried.returncode"),
        ("timeout=TRY_S", "timeout=None")),
    *bugs_in("sed_model/model/probe_model.py", "sed_model/model/test_probe_model.py",
        ("self.description.check_file(self._sha256)", "pass"),
        ("ends_s[-1] = max(ends_s[-1], self._window_s)", "pass"),
        ("- starts_s) > SAME_S).any()", "- starts_s) > SAME_S).all()")),
    *bugs_in("trainables/labelling/heard_before.py", "trainables/labelling/test_heard_before.py",
        ("HeardBefore(entry.starts_s[is_whole], features[is_whole])", "HeardBefore(entry.starts_s, features)"),
        ("one.lineage.foreign[0].sha256", "one.model.description.digest()")),
    *bugs_in("trainables/labelling/members.py", "trainables/labelling/test_joined_runs.py",
        ("(part if one.run in of_part else None)", "part"),
        ("if self.taught_parts is not None or not one.run)", ")"),
        ("if self.taught_parts is not None:", "if False:")),
    *bugs_in("trainables/labelling/joined_runs.py", "trainables/labelling/test_joined_runs.py",
        ("own_members: tuple[Member, ...] = ()", "own_members = choice.members"),
        ("both.folders, choice.parts())", "both.folders)")),
    *bugs_in("sed_model/train/stage_training.py", "sed_model/train/test_stage_training.py",
        (' if plan.name == "pseudo" else 0.0', ""),
        ("views.append(spec_augment(", "views.append(views[0] if views else spec_augment(")),
    *bugs_in("sed_model/train/stage_training.py", "sed_model/train/test_distil.py",
        ("self.stage, config.optim, projection)", "self.stage, config.optim)"),
        ("mix_embeddings(share.gather(heard), mix)", "share.gather(heard)")),
    *bugs_in("sed_model/train/stage_training.py", "sed_model/train/test_stage_training.py",
        ("known & frames_inside(parts, n_steps)[:, :, None]", "known"),
        ("loss + settings.strong_weight * strong_loss", "loss + strong_loss")),
    *bugs_in("sed_model/train/frame_truth.py", "sed_model/train/test_frame_truth.py",
        (".clamp(max=1)", ""),
        (" * (label >= 0)[..., None]", ""),
        (" & has_event.any(dim=1, keepdim=True)", ""),
        ("has_event == (labels >= POSITIVE_FROM)", "has_event"),
        ("(partner | (1 - share < AUDIBLE_SHARE))", "partner")),
    *bugs_in("sed_model/clips/clip_events.py", "sed_model/clips/test_clip_events.py",
        ("times.clip(max=1)", "np.where(times >= 1, 1, times * rate)"),
        ("events[:, 1:] / rate", "events[:, 1:] * rate"),
        ("(last > start_s) | (first >= start_s)", "last > start_s"),
        ("inside[:, 1:].clip(start_s, end_s)", "inside[:, 1:]")),
    *bugs_in("sed_model/clips/soundscape_clips.py", "sed_model/clips/test_soundscape_clips.py",
        ("if duration_s < n_samples / rate:", "if False:"),
        ("if config.loss.strong_weight > 0 else {}", "if True else {}"),
        ("context.start_s, n_samples / rate))", "0.0, n_samples / rate))")),
    *bugs_in("sed_model/data/soundscape_events.py", "sed_model/data/test_soundscape_events.py",
        ("> length_s(path) + EDGE_TOLERANCE_S", "> length_s(path)"),
        ("elif end_s < start_s:", "elif end_s <= start_s:")),
    *bugs_in("sed_model/train/fit.py", "sed_model/train/test_distil.py",
        ('self.projection.load_state_dict(state["projection"])', "pass"),
        ("self.config.distil.last_stage or not is_last", "True"),
        ("self.job.is_last and plan", "plan")),
    *bugs_in("sed_model/clips/embeddings.py", "sed_model/clips/test_embeddings.py",
        ("first = min(start, max(0, cache.n_samples(path) - n_samples))", "first = start"),
        ("share * first + (1 - share) * second", "(1 - share) * first + share * second")),
    *bugs_in("sed_model/clips/pseudo_clips.py", "sed_model/clips/test_pseudo_clips.py",
        ("heard, middle / n_samples)", "heard, 0.5)"),
        ("real.origin == LABELLED or rng", "rng"),
        ("real.primary_label if of_own_class", "real.primary_label if is_replaced"),
        (">= self._taken[place]", "> 1")),
    *bugs_in("sed_model/clips/window_draws.py", "sed_model/clips/test_window_draws.py",
        ("heard = focal.targets * (1 - settings.replace_prob)", "heard = focal.targets"),
        ("np.where(heard > 0, heard, heard[heard > 0].mean())", "heard"),
        ("(settings.prob - of_own_class)", "settings.prob"),
        ("np.exp(exponents @ np.log(left))", "np.where(targets > 0, left, 1).min(axis=1)"),
        ("return taken * np.where(targets > 0, room(taken), 1).min(axis=1)", "return taken")),
    *bugs_in("sed_model/clips/dataset.py", "sed_model/clips/test_student_clips.py",
        ("embedding=embedding, primary_label=label)", "embedding=embedding)"),
        ("targets += chance * self._truth_of(row).targets", "targets += self._truth_of(row).targets")),
    *bugs_in("trainables/labelling/plan.py", "trainables/labelling/test_ensemble_plan.py",
        ("1 + max(member.lineage.round for member in members)", "1")),
    *bugs_in("sed_model/train/optim.py", "sed_model/train/test_optim.py",
        ("settings.weight_decay if decays else 0.0", "settings.weight_decay"),
        ("(step + 1) / (n_warmup + 1)", "step / n_warmup"),
        ("step - n_warmup, total_steps - n_warmup", "step, total_steps"),
        ("math.pi * position / (length - 1)", "math.pi * position / length"),
        ("min(self.decay, (1 + self.updates)", "max(self.decay, (1 + self.updates)"),
        ("current, 1 - decay", "current, decay"),
        ("self._average = {name: value.detach().clone()", "self._average = {name: value.detach()")),
    *bugs_in("sed_model/augment/batch.py", "sed_model/augment/test_augment_batch.py",
        ("share * rng.random(batch_size)", "rng.random(batch_size)"),
        ("torch.maximum(parts, partner)[:, 0]", "torch.minimum(parts, partner)[:, 0]"),
        ("torch.lerp(partner, x, _per_sample", "torch.lerp(x, partner, _per_sample"),
        ("(1 - own_share) * (high - low)", "own_share * (high - low)"),
        ("partner * (1 - share >= AUDIBLE_SHARE)", "partner * (share >= AUDIBLE_SHARE)"),
        ("partner_has * (mix.span[:, 1] - mix.span[:, 0])", "partner_has"),
        ("enough & (origins * origins[mix.permutation.to(origins.device)] >= 0)", "enough"),
        (' * clear[:, None]', ""),
        ("mask & mask[permutation]", "mask | mask[permutation]")),
    *bugs_in("sed_model/model/frontend.py", "sed_model/model/test_frontend.py",
        ("level_db.amax(dim=(-2, -1), keepdim=True)", "level_db.amax()"),
        ("reference_db - top_db", "reference_db + top_db"),
        ("0.5 * centre + 0.25 * (before + behind)", "0.25 * centre + 0.5 * (before + behind)")),
    *bugs_in("sed_model/clips/samplers.py", "sed_model/clips/test_samplers.py",
        ("(1.0 / class_size[class_of])", "class_size[class_of]"),
        ("(self._seed, self._epoch)", "self._seed"),
        ("rng.permutation(np.repeat(np.arange(len(weights)), counts))", "np.repeat(np.arange(len(weights)), counts)")),
    *bugs_in("sed_model/data/splits.py", "sed_model/data/test_splits.py sed_model/data/test_leaks.py",
        ("folds[authors == smallest] =", "folds[rows[authors[rows] == smallest]] ="),
        ("(ratings >= settings.min_rating)", "(ratings > settings.min_rating)"),
        ("if part_of[path] != part)", "if part_of[path] != part + 1)")),
    *bugs_in("sed_model/data/leaks.py", "sed_model/data/test_leaks.py",
        ("(~validating[ours.validation])", "(validating[ours.validation])"),
        ("set(ours.soundscapes_validation) <= not_heard", "set(ours.soundscapes_validation) >= not_heard")),
    *bugs_in("sed_model/data/soundscape_parts.py", "sed_model/data/test_soundscape_parts.py",
        ("str(sites[path]) if by_site else path", "path"),
        ("part = sizes.index(min(sizes))", "part = len(part_of) % n_parts")),
    *bugs_in("sed_model/scores/leads.py", "sed_model/scores/test_leads.py",
        ("SPREAD_OF_CONFIGURATIONS**2 + se**2", "SPREAD_OF_CONFIGURATIONS**2"),
        ("(differences > 0).mean() + (differences == 0).mean() / 2", "(differences >= 0).mean()")),
    *bugs_in("trainables/searching/finalists.py", "trainables/searching/test_finalists.py",
        ("if trained >= {*range(first, first + N_PARTS)}", ""),
        ('if row[metric] > default[metric]', ""),
        ("row[metric] > default[metric]", 'row["macro_auc"] > default["macro_auc"]'),
        ("first.parts, metric=self.metric)", "first.parts)"),
        ("        score=score_of_mean,", "        score=score(said),"),
        ('"seed": (config.seed + number)', '"seed": (config.seed + number % N_PARTS)'),
        ("fmean(score(one, metric) for one in self.rounds)", "score(self.rounds[0], metric)"),
        ("lead.p_better >= AS_GOOD", "lead.p_better >= 0.05"),
        ("space.search.model_copy(update={\"finalist_epochs_scale\": 1.0})", "space.search"),
        ("(softmax[place], -found", "(-found"),
        ("for place in kept if place not in misfits", "for place in kept")),
    *bugs_in("trainables/searching/warm_start.py", "trainables/searching/test_warm_start.py",
        ("not in (theirs.get(name), \"drawn\")", "not in (theirs.get(name),)"),
        ("return shared | scored |", "return shared |")),
    *bugs_in("sed_model/data/layouts.py", "sed_model/data/test_layouts.py",
        ('"spans" if n_near > 1 and', '"spans" if n_near > 4 and')),
    *bugs_in("trainables/spaces/overrides.py", "trainables/test_used_keys.py",
        ("if some not in use.searched and known[some] == 0", "if False"),
        ("        if reason:\n            return reason\n", "        return reason\n")),
    *bugs_in("sed_model/run_folder/out_of_fold.py", "sed_model/run_folder/test_out_of_fold.py",
        ("[len(part.windows) for part in parts])[order]", "[len(part.windows) for part in parts])"),
        ("members[first : first + n_parts]", "members[:n_parts]")),
    *bugs_in("sed_model/run_folder/delivered.py", "trainables/searching/test_finalists.py",
        ("for one in self.finalists if one.is_delivered for member", "for one in self.finalists for member")),
    *bugs_in("trainables/labelling/delivered_members.py", "trainables/labelling/test_delivered_members.py",
        ("elif len(chosen) < job.top_k", "else"),
        ('if lineage.scores == "softmax":', "if False:")),
    *bugs_in("sed_model/predict/heard.py",
        "sed_model/predict/test_tune_job.py trainables/labelling/test_delivered_members.py",
        ("own is None or path in own", "own is None or path not in own"),
        ("if digest_of(\"soundscapes\", validating) == theirs.digest:", "if True:")),
    *bugs_in("trainables/trials/teacher.py", "trainables/labelling/test_delivered_members.py",
        ("None if self.labels is None else labels_of_part(self.labels, data.fold)", "self.labels"),
        (" and labels_of_part(ensemble).is_dir()", "")),
    *bugs_in("trainables/labelling/write_labels.py", "trainables/labelling/test_delivered_members.py",
        ("by_window & np.array(chosen)[:, None]", "by_window")),
    *bugs_in("trainables/searching/round_scores.py", "trainables/searching/test_round_scores.py",
        ("of_windows(old, [place[new.windows[number]] for number in common])", "of_windows(old, common)")),
    *bugs_in("sed_model/run_folder/resampling.py",
        "sed_model/run_folder/test_resampling.py sed_model/run_folder/test_out_of_fold.py",
        ("[np.flatnonzero(parts == part) for part in np.unique(parts)]", "[slice(None)]"),
        ("n_positive * (weights.sum(axis=1, dtype=np.float64) - n_positive)", "n_positive * weights.sum(axis=1)")),
    *bugs_in("sed_model/run_folder/resampling.py", "analysis/test_paper_metrics.py",
        ("(scores[:, None] >= scores[positive])", "(scores[:, None] > scores[positive])"),
        ("drawn @ not_below[positive]", "weights @ not_below"),
        ("(precision * drawn).sum(axis=1)", "precision.sum(axis=1)")),
    *bugs_in("sed_model/run_folder/window_metrics.py", "sed_model/run_folder/test_window_metrics.py",
        ("called = positive.any(axis=1)", "called = np.ones(len(positive), bool)"),
        ("(best & positive[called]).sum(axis=1) / best.sum(axis=1)", "(best & positive[called]).any(axis=1)"),
        (">= FROM_WINDOWS", "> FROM_WINDOWS"),
        ("np.full((len(weights), n_rows), 1 / n_parts)", "np.ones((len(weights), n_rows))"),
        ("np.concatenate([said.parts, np.repeat(parts, N_PADDED)])", "None")),
    *bugs_in("sed_model/run_folder/metrics.py", "sed_model/run_folder/test_window_metrics.py",
        ("np.searchsorted(positive_scores, positive_scores, side=\"left\")",
         "np.searchsorted(positive_scores, positive_scores, side=\"right\")"),
        ("(right / (right + wrong)).mean()", "right.sum() / (right + wrong).sum()")),
    *bugs_in("analysis/paper_metrics.py", "analysis/test_paper_metrics.py",
        ("file_weights(len(names), bootstrap)[:, of_window]", "np.ones((1 + bootstrap.n_resamples, len(of_window)))")),
    *bugs_in("analysis/event_metrics.py", "analysis/test_event_metrics.py",
        ("collar_s = rules.onset_collar_s + ROUNDING_S", "collar_s = rules.onset_collar_s"),
        ("<= allowed_s[of_event]", "<= rules.offset_collar_s + ROUNDING_S"),
        ("return int((maximum_bipartite_matching(graph, perm_type=\"column\") >= 0).sum())",
         "return int(graph.sum())"),
        ("2 * self.right, self.true + self.found", "self.right, self.true")),
    *bugs_in("analysis/psds.py", "analysis/test_psds.py",
        ("max(score, rising[-1][1]) if rising", "score if rising"),
        ("rules.alpha_ct * HOUR_S / events_s[others] / len(others)", "rules.alpha_ct * HOUR_S / events_s[others]"),
        ("hits = right & (near > 0)", "hits = near > 0"),
        ("found.mean(axis=0) - alpha_st", "found.mean(axis=0) + alpha_st")),
    *bugs_in("sed_model/data/scored_events.py", "sed_model/data/test_scored_events.py",
        ("once = sorted(set(events))", "once = sorted(events)"),
        ("if len(folders) > 1", "if len(folders) > 9"),
        ("elif row.end_s == row.start_s:", "elif row.end_s == row.start_s - 1:")),
    *bugs_in("sed_model/data/scored_rows.py", "sed_model/data/test_scored_rows.py",
        (".to_numpy(np.float64)[rows]", ".to_numpy(np.float64)[: len(rows)]"),
        ("if key[0] in labelled and key not in labels", "if key not in labels"),
        ("~np.isfinite(scores", "np.isnan(scores")),
    *bugs_in("sed_model/data/annotations.py", "sed_model/data/test_annotations.py",
        ("number < n_whole[event.path]", "number <= n_whole[event.path]"),
        ("max(last.end_s, event.end_s)", "event.end_s"),
        ("event.start_s <= last.end_s", "event.start_s < last.end_s"),
        ("if event.label == NO_CALL:\n        least_s = target_s", "if False:\n        least_s = target_s"),
        ("if rules.complete else ()", "if True else ()"),
        (" and event.end_s > event.start_s", "")),
    *bugs_in("sed_model/data/annotation_events.py", "sed_model/data/test_annotations.py",
        ("min(row.end_s, length_s)", "row.end_s"),
        ("tuple(known) if texts else (NO_CALL,)", "tuple(known)")),
    *bugs_in("sed_model/data/class_names.py", "sed_model/data/test_annotations.py",
        ("if name and len(labels) == 1", "if name")),
    *bugs_in("sed_model/data/annotation_formats.py", "sed_model/data/test_annotation_formats.py",
        ('times["offset"] - times["start"] if', "0.0 if"),
        ('if start == "\\\\":', "if False:"),
        ("(self._rules.first_minute or 0)", "0")),
    *bugs_in("sed_model/run_folder/metrics.py", "sed_model/run_folder/test_metrics.py",
        ("np.ascontiguousarray(targets.T) >= POSITIVE_FROM", "np.ascontiguousarray(targets.T) > POSITIVE_FROM"),
        ("auc[~np.isnan(auc)]", "np.nan_to_num(auc)"),
        ('side="right"', 'side="left"')),
    *bugs_in("sed_model/scores/neighbours.py", "sed_model/scores/test_neighbours.py",
        ("values[row] = -np.inf", "values[row] = values[row]"),
        ("is_other_author if (is_same & is_other_author).any() else np.isfinite(values)", "is_other_author"),
        ("n_most <= counts[own]", "n_most < counts[own]"),
        ("label in known.further[row] or ", "")),
    *bugs_in("sed_model/run_folder/line_to_beat.py", "sed_model/run_folder/test_line_to_beat.py",
        ('if splits != {row["split"] for row in trials}', 'if splits.isdisjoint({row["split"] for row in trials})')),
    *bugs_in("analysis/windows.py", "analysis/test_alike.py",
        ("if not file.is_relative_to(folder.resolve())", "if False")),
    *bugs_in("sed_model/scores/selection.py", "sed_model/scores/test_selection.py",
        ("score > best.score + LEAST_GAIN", "score >= best.score"),
        ("np.count_nonzero(times) >= max_members", "np.count_nonzero(times) > max_members"),
        ("(targets[~chosen_by], by_model[:, ~chosen_by]", "(targets[chosen_by], by_model[:, chosen_by]")),
    *bugs_in("sed_model/scores/overlap.py", "sed_model/scores/test_overlap.py",
        ("return total / np.maximum(n_seen, 1)[:, None]", "return total"),
        ("np.minimum((shares * n_steps).astype(int)", "np.minimum(np.rint(shares * n_steps).astype(int)"),
        ("(near_s > -SAME_S)", "(near_s > SAME_S)"),
        ("np.abs(offsets_s) < reach_s - SAME_S", "np.abs(offsets_s) < reach_s + SAME_S"),
        (".max(axis=1, initial=0)", ".mean(axis=1)")),
    *bugs_in("sed_model/scores/combine.py", "sed_model/scores/test_combine.py",
        ("combined **= 1 / exponent", "combined **= 1"),
        ("rows > VOTE_FROM", "rows >= VOTE_FROM"),
        ("by_window[own] *= weights[own].sum() / np.where(left > 0, left, 1)", "pass")),
    *bugs_in("sed_model/scores/smoothing.py", "sed_model/scores/test_smoothing.py",
        ("side = (1 - centre) / 2", "side = 1 - centre")),
    *bugs_in("sed_model/labels/rules.py", "sed_model/labels/test_rules.py",
        ("max_rows) if settings.balance", "max_rows) if not settings.balance"),
        ("max(settings.keep_window, settings.keep_class)", "min(settings.keep_window, settings.keep_class)"),
        ("ascending=[True, False]", "ascending=[True, True]"),
        ("n_kept = np.ceil(", "n_kept = np.floor("),
        ('counted = table[table["confidence"] > above]', "counted = table")),
    *bugs_in("sed_model/predict/window_scores.py", "sed_model/predict/test_window_scores.py",
        ("(1 - frame_share) * clip + frame_share * best", "frame_share * clip + (1 - frame_share) * best"),
        ("self.rms <= settings.silence_rms", "self.rms < settings.silence_rms"),
        ("duration_s - EDGE_TOLERANCE_S - target_s", "duration_s - target_s")),
    *bugs_in("sed_model/predict/postprocess.py", "sed_model/predict/test_postprocess.py",
        ("(1 - settings.tta_weight) * parts.clip", "parts.clip"),
        ("-probabilities.max(axis=0)", "-probabilities.mean(axis=0)"),
        ("[n_kept:]", "[:n_kept]")),
    *bugs_in("sed_model/predict/postprocess.py", "sed_model/predict/test_class_tuning.py",
        ('settings.of_classes("frame_weight", classes, float(share))', "share"),
        ('settings.of_classes("smoothing_centre", classes, settings.smoothing_centre)', "settings.smoothing_centre")),
    *bugs_in("sed_model/predict/name_priors.py", "sed_model/predict/test_name_priors.py",
        ("probabilities * ratio", "probabilities + ratio"),
        ("prior.weight * np.asarray(", "np.asarray("),
        ("+ strength * rates) /", "+ strength) /"),
        ("0.5 * shares", "0.5")),
    *bugs_in("sed_model/predict/prior_tuning.py", "sed_model/predict/test_prior_tuning.py",
        ("evidence.labelled.without(own)", "evidence.labelled"),
        ("scores, windows, evidence, (base, kinds, unit_of), names), windows, unit_of)",
         "scores, windows, evidence, (base, kinds, unit_of), names), windows)")),
    *bugs_in("sed_model/predict/place_evidence.py", "sed_model/predict/test_place_evidence.py",
        ("unheard is None or own <= unheard", "True"),
        ("stems if unheard is None else unheard & stems", "stems"),
        ("Heard(tuple(place), present).without(labelled)", "Heard(tuple(place), present)")),
    *bugs_in("sed_model/predict/class_tuning.py", "sed_model/predict/test_class_tuning.py",
        ("(one, scores[:, columns]) for one, scores in scored), own)",
         "(one, scores) for one, scores in scored), windows)")),
    *bugs_in("sed_model/run_folder/leaderboard.py", "sed_model/run_folder/test_runs.py trainables/test_finalists.py",
        ("ascending=[True, False, False, True, True]", "ascending=[True, False, False, False, True]"),
        ('[{**row, "refit_mean": None} for row in trials]', "trials"),
        ("        -row[metric]", "        row[metric]"),
        ("        -row[metric]", '        -row["macro_auc"]'),
        ("if score > highest", "if score >= highest")),
    *bugs_in("trainables/spaces/rungs.py", "trainables/spaces/test_rungs.py",
        ("plans[min(1, len(plans) - 1)]", "plans[0]"),
        ("for epoch in epochs if epoch < last_epoch", "for epoch in epochs if epoch <= last_epoch"),
        ("max(LEAST_EPOCHS,", "min(LEAST_EPOCHS,"),
        ("passing /= reduction_factor", "passing = 1 / reduction_factor")),
    *bugs_in("trainables/searching/asha.py", "trainables/searching/test_asha.py",
        ("max_t=plans[-1].last_epoch + 1", "max_t=plans[-1].last_epoch"),
        ("self._costs[trial_id] * SAME_COST", "self._costs[trial_id]"),
        ("value >= rung[trial_id] and", "value > rung[trial_id] and"),
        ('sign = 1.0 if mode == "max" else -1.0', 'sign = -1.0 if mode == "max" else 1.0'),
        ("if before == FIRST_STAGE != stage", "if before != stage")),
    *bugs_in("trainables/searching/searcher.py", "trainables/searching/test_searcher.py",
        ("not math.isfinite(value)", "math.isnan(value)"),
        ("self._report(trial, result)  # Tune", "pass  # Tune"),
        ("self.study.tell(trial, state=TrialState.PRUNED)", "self.study.tell(trial, values)"),
        ("            self._epochs_left -= 1\n            self._report(trial", "            self._report(trial")),
    *bugs_in("trainables/searching/sampling.py", "trainables/searching/test_sampling.py",
        ("number - n_beside < n_startup or", "number - n_beside <= n_startup or"),
        ("n_scored < LEAST_SCORED", "n_scored <= LEAST_SCORED"),
        ("number - n_beside < n_startup", "number < n_startup"),
        ("0 if is_smallest else n_portfolio", "n_portfolio"),
        ("number <= n_earlier + n_portfolio", "number < n_earlier + n_portfolio"),
        ("max(0, number - n_before)", "number")),
    *bugs_in("trainables/spaces/portfolio.py", "trainables/spaces/test_portfolio.py",
        ("found[1 : 1 +", "found[1 : 2 +"),
        ("if point not in seen", "if True"),
        (' or "pseudo" in space.search.stages', "")),
    *bugs_in("trainables/spaces/search_space.py", "trainables/spaces/test_portfolio.py",
        ("if name in known and known[name].contains(value)}\n        point", "if name in known}\n        point"),
        ("(flat | held)[", "(held | flat)[")),
    *bugs_in("trainables/searching/searcher.py", "trainables/searching/test_sampling.py",
        ("if len(own) == len(trials) else ()", "if True else ()"),
        ("[len(own) :]:", ":")),
    *bugs_in("trainables/searching/refit.py", "trainables/test_finalists.py trainables/searching/test_refit.py",
        ("in job.space.search.refit_folds if fold != own", "in job.space.search.refit_folds"),
        ('and row["number"] not in whole', ""),
        ('for other in mine if other["fold"] != own', "for other in mine")),
    *bugs_in("sed_model/teacher/matching.py", "sed_model/teacher/test_matching.py",
        ("name in index_of and index_of[name] not in taken", "name in index_of"),
        ("for name, found in places.items() if len(found) == 1", "for name, found in places.items()"),
        ("len(words) > 1 and words[0] in QUALIFIERS", "words[0] in QUALIFIERS")),
    *bugs_in("sed_model/teacher/description.py", "sed_model/teacher/test_description.py",
        ('inner.startswith("/") or ', ""),
        ('".." in PurePosixPath(inner).parts or ', "")),
    *bugs_in("sed_model/teacher/first_window.py", "sed_model/teacher/test_first_window.py",
        ("if tried.returncode:", "if tried.returncode > 0:")),
    *bugs_in("sed_model/clips/embedding_build.py",
        "sed_model/clips/test_embedding_build.py sed_model/clips/test_embedding_cache.py",
        ("np.minimum(starts + length, len(wave))", "starts + length"),
        ("np.clip(values, -LARGEST, LARGEST)", "values"),
        ("said.logits[:, list(columns)]", "said.logits[:, sorted(columns)]"),
        ("teacher.embedding, teacher.logits)", "teacher.logits)")),
    *bugs_in("sed_model/clips/embedding_cache.py", "sed_model/clips/test_embedding_cache.py",
        ("(entry.ends_s <= end_s + TOLERANCE_S)", "(entry.starts_s <= end_s + TOLERANCE_S)"),
        ("(last_s - first_s) / 2 - TOLERANCE_S", "(last_s - first_s) - TOLERANCE_S"),
        ("plan.entry(one.path).unlink(missing_ok=True)", "pass")),
    *bugs_in("sed_model/clips/embedding_entry.py", "sed_model/clips/test_embedding_entry.py",
        ("!= (zlib.crc32(memoryview(content)[:end]),)", "== ()")),
    # A probe of a foreign model: which clips are on which side, which regularisation, what a window says, who listens.
    *bugs_in(
        "sed_model/train/probe.py",
        "sed_model/train/test_probe.py",
        (
            "zip(by_strength, fit_linear(clips.rows(~inside), STRENGTHS)",
            "zip(by_strength, fit_linear(clips, STRENGTHS)",
        ),
        ("if score > scores[best] + LEAST_GAIN:", "if score >= scores[best]:"),
        (
            "weight[matched.classes, dim + np.arange(len(matched.columns))] = 1",
            "weight[np.sort(matched.classes), dim + np.arange(len(matched.columns))] = 1",
        ),
        ("off = self.logits[rows] - levels", "off = self.logits[rows]"),
    ),
    *bugs_in(
        "sed_model/train/logistic.py",
        "sed_model/train/test_logistic.py",
        ("loss = (each * self.mask).sum()", "loss = each.sum()"),
    ),
    *bugs_in(
        "sed_model/model/probe_model.py",
        "sed_model/model/test_probe_model.py",
        ("return SedOutput(logits.amax(dim=1)", "return SedOutput(logits.mean(dim=1)"),
        ("return f\"{self.description!r} {self.columns.tolist()}\"", "return f\"{self.description!r}\""),
    ),
    *bugs_in(
        "sed_model/scores/thresholds.py",
        "sed_model/scores/test_thresholds.py",
        ("share = n_positive / (n_positive + strength)", "share = strength / (n_positive + strength)"),
        ("2 * n_right / np.maximum(n_heard + n_positive, 1)\n    return", "n_right / n_positive\n    return"),
        ("n_right >= precision * n_heard", "n_right > precision * n_heard"),
    ),
    *bugs_in(
        "sed_model/scores/deciding.py",
        "sed_model/scores/test_deciding.py",
        ("rows = windows.allowed[member]", "rows = slice(None)"),
        ("fitted = fit(windows.take(~rows), join, precision)", "fitted = fit(windows, join, precision)"),
        ("if alone[place] else of_all", "if True else of_all"),
    ),
    *bugs_in(
        "sed_model/audio/fingerprint.py",
        "sed_model/audio/test_fingerprint.py",
        ("places[step:] - places[:-step]", "places[:-step] - places[step:]"),
        ("error > MAX_ERROR or ", ""),
    ),
    *bugs_in(
        "sed_model/data/leave_out.py",
        "trainables/test_check_data.py",
        ("name.startswith(\"/\") or ", ""),
        (".replace(\"\\\\\", \"/\")", ""),
    ),
    *bugs_in(
        "sed_model/predict/presence.py",
        "analysis/test_found.py trainables/test_decisions.py",
        ("doubt=1 - found[\"probability\"]", "doubt=found[\"probability\"]"),
        ("table = n_windows.merge(of_class, on=by, how=\"left\")", "table = n_windows.merge(of_class, on=by)"),
    ),
]
# fmt: on


def copy_to(tree: Path) -> None:
    """What the tests need, without bytecode: mutants write their own."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit status in the copy, and the first test that fails ("" for none).

    In a fork of this process, which has the libraries but no module of the project: importing them takes longer than
    most of the tests.
    """
    log = tree / "pytest.log"
    child = multiprocessing.get_context("fork").Process(target=_run_pytest, args=(tree, tests, log))
    child.start()
    child.join()
    text = log.read_text(encoding="utf-8", errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", text, re.MULTILINE)
    return child.exitcode or 0, failed[1] if failed else ""


def _run_pytest(tree: Path, tests: Sequence[str], log: Path) -> None:
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.chdir(tree)
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests"))]
    sys.dont_write_bytecode = False
    sys.exit(pytest.main([*PYTEST, *tests]))


def is_killed(tree: Path, mutant: Mutant) -> bool:
    """Whether a test fails with the mutant; says so. Where pytest comes to no test (status 2 ..), none has seen it."""
    path = tree / mutant.file
    path.write_text(path.read_text(encoding="utf-8").replace(mutant.text, mutant.replacement), encoding="utf-8")
    try:
        status, failed = run_tests(tree, mutant.tests)
    finally:
        shutil.copy2(ROOT / mutant.file, path)  # with its time, so that the bytecode of the mutant is not taken for it
    killed = status == 1 and failed != ""
    print(f"killed    {mutant}  by {failed}" if killed else f"SURVIVED  {mutant}  (pytest: {status})", flush=True)
    return killed


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutate the core; every mutant must be caught by its tests.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="only mutants whose line of --list holds one of these")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    arguments = parser.parse_args()
    mutants = [m for m in MUTANTS if not arguments.parts or any(part in str(m) for part in arguments.parts)]
    if not mutants:
        parser.error(f"no mutant has {' or '.join(arguments.parts)} in its line; --list shows all")
    counts = [(ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.text) for mutant in mutants]
    if wrong := [f"found {n} times, not once: {m}" for n, m in zip(counts, mutants, strict=True) if n != 1]:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    if arguments.list:
        print("\n".join(map(str, mutants)))
        return 0
    for name in LIBRARIES:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder:
        copy_to(tree := Path(folder))
        status, failed = run_tests(tree, sorted({name for mutant in mutants for name in mutant.tests}))
        if status != 0:
            print(f"without any mutant the tests fail (pytest: {status}): {failed}", file=sys.stderr)
            return 1
        n_killed = sum([is_killed(tree, mutant) for mutant in mutants])
    functions = {(mutant.file, mutant.function) for mutant in mutants}
    print(f"{n_killed} of {len(mutants)} mutants killed, in {len(functions)} functions")
    return 0 if n_killed == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
