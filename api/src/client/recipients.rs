//! The recipients of wrapped keys, over the admin socket.

use crate::proto::authority::recipients_client::RecipientsClient;
use crate::proto::authority::{AddRecipientRequest, ListRecipientsRequest, PlaceRootsRequest, RemoveRecipientRequest};
use crate::service::{RecipientChange, RecipientsShown};
use crate::wire::recipients::shown;

use super::{AdminClient, ClientError};

impl AdminClient {
    /// For whom keys are wrapped, and which node can use which.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn recipients(&self) -> Result<RecipientsShown, ClientError> {
        let mut client = RecipientsClient::new(self.connection());
        Ok(shown(client.list(self.ask(ListRecipientsRequest {})).await?.into_inner()))
    }

    /// Changes the recipients; with `dry_run` nothing is changed, and the answer is as it would be.
    ///
    /// # Errors
    /// What the server answered; `failed_precondition` names what would be left without somebody who can open it.
    pub async fn change_recipients(
        &self,
        change: RecipientChange,
        dry_run: bool,
    ) -> Result<RecipientsShown, ClientError> {
        let client = RecipientsClient::new(self.connection());
        macro_rules! asked {
            ($message:expr, $method:ident) => {
                if dry_run {
                    client.clone().$method(self.ask($message)).await?.into_inner()
                } else {
                    let ask = |request| {
                        let mut client = client.clone();
                        async move { client.$method(request).await }
                    };
                    self.manner.change($message, ask).await?
                }
            };
        }
        Ok(shown(match change {
            RecipientChange::Add { which: recipient, roots } => {
                asked!(AddRecipientRequest { recipient, roots, dry_run }, add)
            }
            RecipientChange::Remove { which: recipient, force } => {
                asked!(RemoveRecipientRequest { recipient, force, dry_run }, remove)
            }
            RecipientChange::PlaceRoots { which: recipient } => {
                asked!(PlaceRootsRequest { recipient, dry_run }, place_roots)
            }
        }))
    }
}
