const startCards = () => {
  all("[data-card]").forEach((button) => {
    button.addEventListener("click", () => document.getElementById(`card-${button.dataset.card}`).showModal());
  });
  all("dialog.card").forEach((card) => {
    card.addEventListener("click", (event) => {
      // A press beside the card is on the dialog itself, whose box its content fills.
      if (event.target === card || event.target.closest("[data-close]")) card.close();
    });
  });
};
