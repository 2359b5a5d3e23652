// "Wrong? Correct it": the photo is kept with its right label, which `send` takes, if its sender agrees.
export function offerCorrection(card, answer, send) {
  const template = document.getElementById("correct");
  if (!template) return; // this service keeps none
  const part = template.content.cloneNode(true);
  const [details, form, select] = ["details", "form", "select"].map((name) => part.querySelector(name));
  const first = answer.objects[0];
  if (first.reason) details.querySelector("summary").textContent = "Do you know what it is? Tell the model";
  if (!first.reason) [...select.options].find((option) => option.value === first.label)?.remove();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const problem = form.querySelector(".bad");
    button.disabled = true;
    problem.hidden = true;
    try {
      const response = await send(select.value);
      if (!response.ok) throw new Error((await response.json()).error.message);
      const thanks = document.createElement("p");
      thanks.className = "notice good thanks";
      thanks.setAttribute("role", "status");
      thanks.textContent = `Thank you. The photo is kept as “${select.value}”, for the next training.`;
      details.replaceWith(thanks);
    } catch (error) {
      problem.textContent = error instanceof TypeError ? "The service cannot be reached." : error.message;
      problem.hidden = false;
      button.disabled = false;
    }
  });
  card.append(part);
}
