package breakfix.app

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.lazy.rememberLazyListState
import androidx.compose.material3.AlertDialog
import androidx.compose.material3.Button
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.font.FontStyle
import androidx.compose.ui.unit.dp
import breakfix.session.SafetyCard

/** The chat: what was said, and where to say more. It decides nothing. */
@Composable
fun ChatScreen(chat: ChatViewModel) {
    Surface(Modifier.fillMaxSize()) {
        Column(Modifier.fillMaxSize().safeDrawingPadding().padding(horizontal = 16.dp)) {
            val card = chat.assistant?.card
            if (card == null) {
                Waiting(chat.refusal)
            } else {
                Header(card, chat)
                Lines(chat, Modifier.weight(1f))
                Composer(chat)
                Announcer(chat.announcement)
            }
        }
    }
}

/** What stands where there is no model yet, or none that may be used. */
@Composable
private fun Waiting(refusal: String) {
    Column(
        Modifier.fillMaxSize().semantics { liveRegion = LiveRegionMode.Polite },
        verticalArrangement = Arrangement.Center,
        horizontalAlignment = Alignment.CenterHorizontally,
    ) {
        if (refusal == "") CircularProgressIndicator(Modifier.padding(16.dp))
        Text(if (refusal == "") stringResource(R.string.loading) else refusal)
    }
}

@Composable
private fun Header(card: SafetyCard, chat: ChatViewModel) {
    var isOpen by rememberSaveable { mutableStateOf(false) }
    Row(Modifier.fillMaxWidth(), verticalAlignment = Alignment.CenterVertically) {
        Text(card.name, Modifier.weight(1f).semantics { heading() }, style = MaterialTheme.typography.titleMedium)
        TextButton(onClick = { isOpen = true }) { Text(stringResource(R.string.about)) }
        TextButton(onClick = chat::restart, enabled = !chat.isBusy) { Text(stringResource(R.string.restart)) }
    }
    if (isOpen) {
        AlertDialog(
            onDismissRequest = { isOpen = false },
            confirmButton = { TextButton(onClick = { isOpen = false }) { Text(stringResource(R.string.close)) } },
            title = { Text(stringResource(R.string.about)) },
            text = { LazyColumn { items(card.lines()) { Text(it, Modifier.padding(vertical = 4.dp)) } } },
        )
    }
}

@Composable
private fun Lines(chat: ChatViewModel, modifier: Modifier) {
    val place = rememberLazyListState()
    LaunchedEffect(chat.lines.size) { if (chat.lines.isNotEmpty()) place.animateScrollToItem(chat.lines.size - 1) }
    LazyColumn(modifier.fillMaxWidth(), state = place, verticalArrangement = Arrangement.spacedBy(12.dp)) {
        if (chat.lines.isEmpty()) item { Text(stringResource(R.string.greeting)) }
        items(chat.lines) { Said(it) }
    }
}

@Composable
private fun Said(line: Line) {
    val who = stringResource(if (line.isMine) R.string.you else R.string.answer)
    val colour = if (line.isMine) MaterialTheme.colorScheme.secondaryContainer else MaterialTheme.colorScheme.surfaceVariant
    Surface(Modifier.fillMaxWidth(), shape = MaterialTheme.shapes.medium, color = colour) {
        Column(Modifier.padding(12.dp).semantics(mergeDescendants = true) {}) {
            Text(who, style = MaterialTheme.typography.labelMedium)
            if (line.text != "") Text(line.text)
            if (line.note != "") Text(line.note, fontStyle = FontStyle.Italic)
        }
    }
}

@Composable
private fun Composer(chat: ChatViewModel) {
    var question by rememberSaveable { mutableStateOf("") }
    Row(Modifier.fillMaxWidth().padding(vertical = 8.dp), verticalAlignment = Alignment.CenterVertically) {
        OutlinedTextField(
            value = question,
            onValueChange = { question = it },
            modifier = Modifier.weight(1f).padding(end = 8.dp),
            label = { Text(stringResource(R.string.question)) },
            maxLines = 6,
        )
        if (chat.isBusy) {
            Button(onClick = chat::stop) { Text(stringResource(R.string.stop)) }
        } else {
            Button(
                onClick = {
                    chat.ask(question)
                    question = ""
                },
                enabled = question.isNotBlank(),
            ) { Text(stringResource(R.string.send)) }
        }
    }
}

/** Says an answer once it is whole: one that is read out with each word is heard many times. */
@Composable
private fun Announcer(text: String) {
    Box(
        Modifier.size(1.dp).semantics {
            liveRegion = LiveRegionMode.Polite
            contentDescription = text
        },
    )
}
