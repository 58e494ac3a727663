"""JupyterLab, a kernel, a widget and the browser talk to one another."""

from __future__ import annotations

COUNTER = """
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = '''
    export default {
      render({ model, el }) {
        const button = document.createElement("button");
        button.className = "counter";
        const show = () => { button.textContent = model.get("text"); };
        button.onclick = () => { model.set("n", model.get("n") + 1); model.save_changes(); };
        model.on("change:text", show);
        show();
        el.append(button);
      }
    };
    '''
    n = traitlets.Int(0).tag(sync=True)
    text = traitlets.Unicode("never").tag(sync=True)

    @traitlets.observe("n")
    def _count(self, change):
        self.text = f"the kernel counts {change['new']}"

Counter()
"""


def test_a_click_on_a_widget_reaches_the_kernel_and_its_answer_the_page(lab, page):
    lab.write("counter.ipynb", COUNTER)
    lab.open(page, "counter.ipynb", theme="dark")
    lab.run_all(page)
    button = page.locator("button.counter")
    assert button.inner_text() == "never"
    button.click()
    button.click()
    page.get_by_text("the kernel counts 2").wait_for()
