from corten.prometheus import Histogram, Page


def test_text_format():
    page = Page()
    page.counter("a_total", "All", 3)
    page.gauges("b", "Some", [({"name": 'x"\\\n'}, 1.5)])
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7):
        histogram.observe(seconds)
    page.histograms("c_seconds", "Took", [({"action": "go"}, histogram)])
    assert page.text().decode() == (
        "# HELP a_total All\n# TYPE a_total counter\na_total 3\n"
        '# HELP b Some\n# TYPE b gauge\nb{name="x\\"\\\\\\n"} 1.5\n'
        "# HELP c_seconds Took\n# TYPE c_seconds histogram\n"
        'c_seconds_bucket{action="go",le="0.1"} 2\n'
        'c_seconds_bucket{action="go",le="1.0"} 3\n'
        'c_seconds_bucket{action="go",le="+Inf"} 4\n'
        'c_seconds_sum{action="go"} 7.650000\n'
        'c_seconds_count{action="go"} 4\n'
    )
