/// What the screen shows: the conversation so far, and whether the model is ready.

import BreakfixGuard
import BreakfixSession
import SwiftUI

@MainActor
final class Chat: ObservableObject {
    struct Line: Identifiable {
        let id = UUID()
        let isOwn: Bool
        var text: String
        /// What the guard has to tell, beside the text or in its place.
        var note = ""
    }

    enum State: Equatable {
        case opening, ready, answering
        case failed(String)
    }

    @Published private(set) var lines: [Line] = []
    @Published private(set) var state = State.opening
    private var session: GuardedSession?

    func open() async {
        guard session == nil else { return }
        do {
            session = try await Task.detached(priority: .userInitiated) { try Opening.session() }.value
            state = .ready
        } catch {
            state = .failed("\(error)")
        }
    }

    func ask(_ text: String) async {
        guard let session, state == .ready else { return }
        lines.append(Line(isOwn: true, text: text))
        lines.append(Line(isOwn: false, text: ""))
        state = .answering
        for await event in session.ask(text) { show(event) }
        state = .ready
        UIAccessibility.post(notification: .announcement, argument: spoken(lines[lines.count - 1]))
    }

    func stop() { Task { await session?.stop() } }

    func restart() {
        guard state == .ready else { return }
        lines = []
        Task { await session?.restart() }
    }

    private func show(_ event: TurnEvent) {
        let last = lines.count - 1
        switch event {
        case .text(let text): lines[last].text += text
        case .blocked(let keep, let note):
            // The guard counts Unicode scalars.
            lines[last].text = String(String.UnicodeScalarView(lines[last].text.unicodeScalars.prefix(keep)))
            lines[last].note = note.message
        case .tooLong: lines[last].note = String(localized: "That is too long for this model. Please shorten it.")
        case .done(let note, let forgotten, let cut):
            let told = [
                note.map(remark) ?? "", forgotten > 0 ? String(localized: "The beginning of the chat was forgotten.") : "",
                cut ? String(localized: "The answer was cut because it became too long.") : "",
            ]
            lines[last].note = told.filter { !$0.isEmpty }.joined(separator: "\n")
        case .broken: lines[last].note = String(localized: "The model broke off. Please ask again.")
        }
    }

    /// What to say of a text that passed: not every verdict that lets one pass has words of the policy's.
    private func remark(_ note: Note) -> String {
        if !note.message.isEmpty { return note.message }
        guard note.action == .redact else { return String(localized: "The guard let this pass with a warning.") }
        return note.rail == .input
            ? String(localized: "Personal data were taken out of your question.")
            : String(localized: "Personal data were taken out of the answer.")
    }

    private func spoken(_ line: Line) -> String { [line.text, line.note].filter { !$0.isEmpty }.joined(separator: "\n") }
}
