from index.exact import ExactIndex
from tests.suites.index_suite import IndexSuite


class TestExactIndex(IndexSuite):
    def make(self, dimension):
        return ExactIndex(dimension)
