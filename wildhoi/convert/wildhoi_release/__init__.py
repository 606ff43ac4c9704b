"""The authors' WildHOI release: inputs, truth and templates as a data folder, result lists as reconstructions."""

from wildhoi.convert.wildhoi_release.plan import plan_wildhoi as plan_wildhoi
from wildhoi.convert.wildhoi_release.results import read_results as read_results
