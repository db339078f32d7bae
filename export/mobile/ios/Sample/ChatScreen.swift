/// The screen: the conversation, a field and a button. Colours and sizes are the system's, so that light, dark and any size of
/// type come for nothing.

import SwiftUI

struct ChatScreen: View {
    @ObservedObject var chat: Chat
    @State private var draft = ""
    @FocusState private var isWriting: Bool

    var body: some View {
        NavigationStack {
            VStack(spacing: 0) {
                ScrollViewReader { reader in
                    ScrollView {
                        LazyVStack(alignment: .leading, spacing: 12) {
                            ForEach(chat.lines) { LineView(line: $0).id($0.id) }
                        }
                        .padding()
                    }
                    .onChange(of: chat.lines.last?.text) { _ in
                        if let last = chat.lines.last { reader.scrollTo(last.id, anchor: .bottom) }
                    }
                }
                Divider()
                footer.padding()
            }
            .navigationTitle(Text("Private chat"))
            .navigationBarTitleDisplayMode(.inline)
            .toolbar {
                Button(action: chat.restart) { Label("New chat", systemImage: "square.and.pencil") }
                    .disabled(chat.state != .ready || chat.lines.isEmpty)
            }
        }
    }

    @ViewBuilder private var footer: some View {
        switch chat.state {
        case .opening:
            ProgressView { Text("Checking the model's files") }.frame(maxWidth: .infinity)
        case .failed(let why):
            Label(why, systemImage: "exclamationmark.triangle")
                .foregroundColor(.red)
                .frame(maxWidth: .infinity, alignment: .leading)
        case .ready, .answering:
            HStack(alignment: .bottom) {
                TextField("Message", text: $draft, axis: .vertical)
                    .lineLimit(1...6)
                    .textFieldStyle(.roundedBorder)
                    .focused($isWriting)
                    .accessibilityLabel(Text("Your message"))
                if chat.state == .answering {
                    Button(action: chat.stop) { Image(systemName: "stop.circle.fill").imageScale(.large) }
                        .accessibilityLabel(Text("Stop the answer"))
                } else {
                    Button(action: send) { Image(systemName: "arrow.up.circle.fill").imageScale(.large) }
                        .accessibilityLabel(Text("Send"))
                        .disabled(question.isEmpty)
                }
            }
        }
    }

    private var question: String { draft.trimmingCharacters(in: .whitespacesAndNewlines) }

    private func send() {
        let text = question
        draft = ""
        Task { await chat.ask(text) }
    }
}

private struct LineView: View {
    let line: Chat.Line

    var body: some View {
        VStack(alignment: .leading, spacing: 6) {
            if !line.text.isEmpty { Text(verbatim: line.text).textSelection(.enabled) }
            if !line.note.isEmpty {
                Label { Text(verbatim: line.note) } icon: { Image(systemName: "shield") }
                    .font(.callout)
                    .foregroundColor(.secondary)
            }
            if line.text.isEmpty && line.note.isEmpty { ProgressView() }
        }
        .padding(10)
        .background(line.isOwn ? Color.accentColor.opacity(0.15) : Color(.secondarySystemBackground))
        .clipShape(RoundedRectangle(cornerRadius: 12))
        .frame(maxWidth: .infinity, alignment: line.isOwn ? .trailing : .leading)
        .accessibilityElement(children: .combine)
        .accessibilityLabel(line.isOwn ? Text("You: \(line.text)") : Text("Answer: \(line.text) \(line.note)"))
    }
}
