package breakfix.session

import breakfix.guard.Fields

/** What was measured on exactly the files of a bundle, and what the gate decided: `card.json`. It measures nothing. */
class SafetyCard(card: Fields) {
    /** What the app calls the model. */
    val name: String = card.text("name")

    /** One measured share: so many of so many. */
    class Figure(val suite: String, val measure: String, val hits: Long, val count: Long)

    /** Of the model behind its guard; empty where nothing was measured. */
    val figures: List<Figure> =
        card.objects("figures").map { Figure(it.text("suite"), it.text("measure"), it.long("hits"), it.long("n")) }

    /** What the gate between float and int4 decided, and why; null where it was not run. */
    val gate: String? =
        if (card.has("gate")) card.fields("gate").let { "${it.text("outcome")}: ${it.text("reason")}" } else null

    /** Return the card as lines of plain text. */
    fun lines(): List<String> = listOf("Quantization gate ${gate ?: "was not run"}") +
        figures.map { "${it.suite}: ${it.measure} ${it.hits} of ${it.count}" }
}
